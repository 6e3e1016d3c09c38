#include "server/serving/repository/loader_thread.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace fff::serving {
namespace {

TEST(LoaderThread, RunsEverythingOnOneThreadOfItsOwn) {
  LoaderThread loader;
  std::set<std::thread::id> threads;
  for (int i = 0; i < 5; ++i) {
    loader.Run([&] { threads.insert(std::this_thread::get_id()); });
  }
  EXPECT_EQ(threads.size(), 1u);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 0u);
}

TEST(LoaderThread, LetsCallersTakeTurns) {
  LoaderThread loader;
  int running = 0;  // the loader's thread alone touches it
  int total = 0;
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        bool done = false;
        loader.Run([&] {
          EXPECT_EQ(++running, 1);
          ++total;
          --running;
          done = true;
        });
        EXPECT_TRUE(done);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 400);
}

TEST(LoaderThread, EndsWithoutHavingRun) { LoaderThread loader; }

}  // namespace
}  // namespace fff::serving
