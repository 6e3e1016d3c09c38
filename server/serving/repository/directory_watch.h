#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace fff::serving {

// Waits for changes in a set of directories. Changes are told by inotify; where
// that is missing or its limits are reached, a wait just lasts its whole time,
// and the caller looks by itself. One thread calls everything but Wake, which
// any thread may call. Holds two file descriptors.
class DirectoryWatch {
 public:
  // `use_inotify` = false makes it wait without looking, for tests and for file
  // systems whose changes are made elsewhere.
  explicit DirectoryWatch(bool use_inotify = true);
  ~DirectoryWatch();
  DirectoryWatch(const DirectoryWatch&) = delete;
  DirectoryWatch& operator=(const DirectoryWatch&) = delete;

  // Watches exactly these directories from now on; those that are not there are
  // passed over. True when one is watched that was not before: it may hold what
  // came before the watch.
  bool Follow(const std::vector<std::string>& directories);

  // Blocks until something changes in a watched directory (files written or
  // closed, names made, moved or removed), Wake was called, or `timeout` has
  // passed; true in the first two cases.
  bool Await(std::chrono::milliseconds timeout);

  // Ends the wait that is under way, or else the next.
  void Wake();

  // Paths of files in watched directories that were written to and have not
  // been closed, moved or removed since, as far as the events told.
  std::vector<std::string> FilesBeingWritten() const;

  // Whether every directory of the last Follow that is there is watched.
  bool complete() const { return complete_; }

 private:
  void ReadEvents();
  void Take(int watch, unsigned mask, const std::string& name);
  void Unfollow(int watch);

  int inotify_ = -1;
  int wake_ = -1;
  bool complete_ = true;
  std::map<std::string, int> watches_;                  // directory to watch
  std::map<int, std::string> directories_;              // and back
  std::map<int, std::set<std::string>> being_written_;  // names a watch
};

}  // namespace fff::serving
