#include "server/base/check.h"

#include "gtest/gtest.h"

namespace fff::base {
namespace {

TEST(CheckTest, WhatHoldsCostsNothing) {
  int evaluated = 0;
  FFF_CHECK(++evaluated == 1);
  EXPECT_EQ(evaluated, 1);
}

TEST(CheckDeathTest, ABrokenContractEndsTheProcessAndSaysWhere) {
  EXPECT_DEATH(FFF_CHECK(1 + 1 == 3),
               "check_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3");
}

TEST(CheckDeathTest, DchecksAreForBuildsWithAsserts) {
#ifdef NDEBUG
  int evaluated = 0;
  FFF_DCHECK(++evaluated == 2);
  EXPECT_EQ(evaluated, 0);
#else
  EXPECT_DEATH(FFF_DCHECK(false), "check failed: false");
#endif
}

}  // namespace
}  // namespace fff::base
