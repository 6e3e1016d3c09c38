#include "server/app/accepted_format.h"

#include <gtest/gtest.h>

namespace fff::app {
namespace {

using metrics::TextFormat;

TEST(AcceptedFormat, OpenMetricsWhereItIsNamed) {
  for (const char* accept :
       {// Prometheus 2.42, and 3.0.
        "application/openmetrics-text;version=1.0.0,application/"
        "openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,"
        "*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version="
        "1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;"
        "q=0.2",
        "application/openmetrics-text",
        "Application/OpenMetrics-Text ; Q=0.001",
        "text/plain, application/openmetrics-text",
        "text/html;q=1, application/openmetrics-text;q=0.2"}) {
    EXPECT_EQ(AcceptedFormat(accept), TextFormat::kOpenMetrics) << accept;
  }
}

TEST(AcceptedFormat, PrometheusTextForEverythingElse) {
  for (const char* accept :
       {"", "*/*", "text/plain", "application/*", "application/json",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "text/plain;version=0.0.4, application/openmetrics-text;q=0.9",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=", "application/openmetrics-text;q=-1",
        "application/openmetrics-texts", ";;;,,,==", ",", "q=1"}) {
    EXPECT_EQ(AcceptedFormat(accept), TextFormat::kPrometheus) << accept;
  }
}

}  // namespace
}  // namespace fff::app
