#include "server/serving/repository/directory_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fff::serving {
namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE |
                             IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                             IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
// Of one watch set; the rest is left to the caller's own looks.
constexpr size_t kWatchesMax = 65536;

}  // namespace

DirectoryWatch::DirectoryWatch(bool use_inotify)
    : inotify_(use_inotify ? inotify_init1(IN_NONBLOCK | IN_CLOEXEC) : -1),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      complete_(inotify_ >= 0) {}

DirectoryWatch::~DirectoryWatch() {
  if (inotify_ >= 0) close(inotify_);
  if (wake_ >= 0) close(wake_);
}

void DirectoryWatch::Unfollow(int watch) {
  const auto it = directories_.find(watch);
  if (it == directories_.end()) return;
  const auto by_path = watches_.find(it->second);
  if (by_path != watches_.end() && by_path->second == watch) {
    watches_.erase(by_path);
  }
  directories_.erase(it);
  being_written_.erase(watch);
}

bool DirectoryWatch::Follow(const std::vector<std::string>& directories) {
  if (inotify_ < 0) return false;
  bool added = false;
  complete_ = directories.size() <= kWatchesMax;
  const std::set<std::string> wanted(directories.begin(), directories.end());
  for (auto it = watches_.begin(); it != watches_.end();) {
    const auto [path, watch] = *it++;  // Unfollow erases it
    if (wanted.count(path) > 0) continue;
    inotify_rm_watch(inotify_, watch);
    Unfollow(watch);
  }
  for (const std::string& directory : wanted) {
    if (directories_.size() >= kWatchesMax) break;
    const int watch = inotify_add_watch(inotify_, directory.c_str(),
                                        kEvents | IN_ONLYDIR | IN_EXCL_UNLINK);
    if (watch < 0) {
      if (errno != ENOENT && errno != ENOTDIR) complete_ = false;
      continue;
    }
    // Two paths may lead to one directory, and one path to another than before.
    const auto known = watches_.find(directory);
    if (known != watches_.end() && known->second == watch) continue;
    if (known != watches_.end()) {
      const int stale = known->second;
      inotify_rm_watch(inotify_, stale);
      Unfollow(stale);
    }
    watches_[directory] = watch;
    directories_[watch] = directory;
    added = true;
  }
  return added;
}

bool DirectoryWatch::Await(std::chrono::milliseconds timeout) {
  pollfd fds[2] = {{wake_, POLLIN, 0}, {inotify_, POLLIN, 0}};
  const auto wait = std::clamp<int64_t>(timeout.count(), 0, INT_MAX);
  const int ready = poll(fds, inotify_ >= 0 ? 2 : 1, static_cast<int>(wait));
  if (ready <= 0) return false;
  if ((fds[0].revents & POLLIN) != 0) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(wake_, &count, sizeof(count));
  }
  if (inotify_ >= 0 && (fds[1].revents & POLLIN) != 0) ReadEvents();
  return true;
}

void DirectoryWatch::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = write(wake_, &one, sizeof(one));
}

void DirectoryWatch::ReadEvents() {
  alignas(inotify_event) char buffer[16 << 10];
  constexpr int kReadsMax = 64;  // a look comes in between
  for (int i = 0; i < kReadsMax; ++i) {
    const ssize_t got = read(inotify_, buffer, sizeof(buffer));
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof(event));
      const char* name = buffer + at + sizeof(event);
      Take(event.wd, event.mask, event.len > 0 ? name : "");
      at += static_cast<ssize_t>(sizeof(event) + event.len);
    }
  }
}

void DirectoryWatch::Take(int watch, unsigned mask, const std::string& name) {
  if ((mask & IN_Q_OVERFLOW) != 0) {
    being_written_.clear();  // a close may have been lost
    return;
  }
  if ((mask & IN_IGNORED) != 0) {
    Unfollow(watch);
    return;
  }
  if (name.empty() || (mask & IN_ISDIR) != 0) return;
  if ((mask & IN_MODIFY) != 0) being_written_[watch].insert(name);
  constexpr unsigned kDone =
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
  if ((mask & kDone) != 0) being_written_[watch].erase(name);
}

std::vector<std::string> DirectoryWatch::FilesBeingWritten() const {
  std::vector<std::string> files;
  for (const auto& [watch, names] : being_written_) {
    const auto directory = directories_.find(watch);
    if (directory == directories_.end()) continue;
    for (const std::string& name : names) {
      files.push_back(absl::StrCat(directory->second, "/", name));
    }
  }
  return files;
}

}  // namespace fff::serving
