#include "server/base/status_macros.h"

#include <memory>

#include "gtest/gtest.h"

namespace fff::base {
namespace {

absl::StatusOr<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(value / 2);
}

absl::StatusOr<int> Quarter(int value) {
  FFF_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(value));
  FFF_ASSIGN_OR_RETURN(std::unique_ptr<int> quarter, Half(*half));
  FFF_RETURN_IF_ERROR(absl::OkStatus());
  return *quarter;
}

TEST(StatusMacrosTest, AssignOrReturnAtTheFirstError) {
  EXPECT_EQ(Quarter(12).value(), 3);
  EXPECT_EQ(Quarter(6).status(), absl::InvalidArgumentError("odd"));
}

TEST(StatusMacrosTest, AnnotatePutsTheContextBeforeTheMessage) {
  EXPECT_TRUE(Annotate(absl::OkStatus(), "file").ok());
  EXPECT_EQ(Annotate(absl::NotFoundError("gone"), "file"),
            absl::NotFoundError("file: gone"));
}

}  // namespace
}  // namespace fff::base
