#pragma once

#include <cstdint>

#include "server/base/check.h"
#include "server/engine/kernel.h"

namespace fff::engine {

// The rows of a batch whose tokens a kernel sees, counted through all rows:
// sequences of any length, or of one. A view.
class TokenRows {
 public:
  // tokens: of every row; 0: sequences of any length.
  TokenRows(int64_t tokens, const KernelInputs& in)
      : tokens_(tokens), sequences_(in.sequences()), rows_(in[0].rows) {
    if (tokens_ > 0) return;
    FFF_DCHECK(in[0].rows == sequences_.tokens());
    rows_ = sequences_.rows();
  }

  int64_t rows() const { return rows_; }
  int64_t tokens() const {  // of all rows
    return tokens_ > 0 ? rows_ * tokens_ : sequences_.tokens();
  }
  int64_t Begin(int64_t row) const {
    return tokens_ > 0 ? row * tokens_ : sequences_.Begin(row);
  }
  int64_t Length(int64_t row) const {
    return tokens_ > 0 ? tokens_ : sequences_.Length(row);
  }
  // The first row that begins with `token` or behind it.
  int64_t FirstFrom(int64_t token) const {
    int64_t low = 0;
    for (int64_t high = rows_; low < high;) {
      const int64_t middle = (low + high) / 2;
      if (Begin(middle) < token) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

 private:
  int64_t tokens_;
  Sequences sequences_;
  int64_t rows_;
};

}  // namespace fff::engine
