#include "server/rpc/transport/unread_answers.h"

#include <algorithm>

#include "server/base/check.h"

namespace fff::rpc {

std::vector<size_t> AnswersToDrop(const std::vector<UnreadAnswer>& answers,
                                  int64_t used, int64_t bytes_max,
                                  serving::Clock::duration timeout) {
  const int64_t wanted = bytes_max / 2;
  std::vector<size_t> chosen;
  if (bytes_max == 0 || used <= wanted) return chosen;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].waiting >= timeout) chosen.push_back(i);
  }
  std::sort(chosen.begin(), chosen.end(), [&answers](size_t a, size_t b) {
    return answers[a].waiting > answers[b].waiting;
  });
  size_t count = 0;
  while (count < chosen.size() && used > wanted) {
    used -= answers[chosen[count++]].bytes;
  }
  chosen.resize(count);
  return chosen;
}

void AnswerHolders::Add(AnswerHolder* holder) {
  holder->index_ = holders_.size();
  holders_.push_back(holder);
}

void AnswerHolders::Remove(AnswerHolder* holder) {
  FFF_CHECK(holder->index_ < holders_.size() &&
            holders_[holder->index_] == holder);
  holders_.back()->index_ = holder->index_;
  holders_[holder->index_] = holders_.back();
  holders_.pop_back();
}

AnswerHolders::Dropped AnswerHolders::DropUnread(
    serving::Clock::time_point now, int64_t used, int64_t bytes_max,
    serving::Clock::duration timeout) {
  Dropped dropped;
  if (bytes_max == 0 || used <= bytes_max / 2) return dropped;
  std::vector<AnswerHolder*> waiting;
  std::vector<UnreadAnswer> answers;
  for (AnswerHolder* holder : holders_) {
    const int64_t at = holder->sent_at_.load(std::memory_order_relaxed);
    if (at == AnswerHolder::kNone) continue;
    const serving::Clock::time_point sent{serving::Clock::duration(at)};
    waiting.push_back(holder);
    answers.push_back({now - sent, holder->held_bytes()});
  }
  for (const size_t i : AnswersToDrop(answers, used, bytes_max, timeout)) {
    ++dropped.calls;
    dropped.bytes += answers[i].bytes;
    waiting[i]->Drop();
  }
  return dropped;
}

}  // namespace fff::rpc
