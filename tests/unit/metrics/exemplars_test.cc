#include "server/metrics/exemplars.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace fff::metrics {
namespace {

Exemplar Of(uint64_t value) {
  Exemplar exemplar;
  exemplar.value = value;
  exemplar.unix_ms = 1;
  return exemplar;
}

TEST(Exemplars, KeepsTheLatestOfEachBucket) {
  Exemplars exemplars;
  EXPECT_TRUE(exemplars.Snapshot().empty());
  exemplars.Record(2, Of(7));
  exemplars.Record(0, Of(3));
  exemplars.Record(2, Of(8));
  const std::vector<Exemplar> latest = exemplars.Snapshot();
  ASSERT_EQ(latest.size(), 3u);
  EXPECT_EQ(latest[0].value, 3u);
  EXPECT_EQ(latest[1].unix_ms, 0);  // none
  EXPECT_EQ(latest[2].value, 8u);
}

TEST(Exemplars, ManyThreadsRecordWholeOnes) {
  Exemplars exemplars;
  std::vector<std::thread> threads;
  for (uint8_t t = 1; t <= 4; ++t) {
    threads.emplace_back([&exemplars, t] {
      for (int i = 0; i < 1000; ++i) {
        Exemplar exemplar = Of(t);
        exemplar.trace.trace_id.fill(t);
        exemplars.Record(1, exemplar);
      }
    });
  }
  for (int i = 0; i < 100; ++i) (void)exemplars.Snapshot();
  for (std::thread& thread : threads) thread.join();
  exemplars.Record(0, Of(9));
  const std::vector<Exemplar> latest = exemplars.Snapshot();
  EXPECT_EQ(latest[0].value, 9u);
  for (const uint8_t byte : latest.at(1).trace.trace_id) {
    EXPECT_EQ(byte, latest[1].value);
  }
}

}  // namespace
}  // namespace fff::metrics
