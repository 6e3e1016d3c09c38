#include "server/base/thread.h"

#include <gtest/gtest.h>

namespace fff::base {
namespace {

std::string NameOfAThread(const std::string& name) {
  std::string seen;
  StartThread(name, [&] { seen = ThreadName(); }).join();
  return seen;
}

TEST(StartThread, RunsTheBodyUnderTheName) {
  const std::string mine = ThreadName();
  EXPECT_EQ(NameOfAThread("fff-loader"), "fff-loader");
  EXPECT_EQ(ThreadName(), mine);
}

TEST(StartThread, CutsWhatLinuxWouldRefuse) {
  EXPECT_EQ(NameOfAThread("fff-worker-1023"), "fff-worker-1023");
  EXPECT_EQ(NameOfAThread("fff-worker-10234"), "fff-worker-1023");
}

TEST(ThreadNameScope, NamesThisThreadAndThoseItStartsForAWhile) {
  const std::string mine = ThreadName();
  std::string child;
  {
    const ThreadNameScope scope("fff-benchmark");
    EXPECT_EQ(ThreadName(), "fff-benchmark");
    std::thread([&] { child = ThreadName(); }).join();
  }
  EXPECT_EQ(ThreadName(), mine);
  EXPECT_EQ(child, "fff-benchmark");
}

}  // namespace
}  // namespace fff::base
