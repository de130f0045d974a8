// The scratch memory of an op that works in several arrays: each is added, then all of them are allocated as one, at multiples
// of 256 bytes.

#ifndef STEPCREDIT_CUDA_SCRATCH_PIECES_CUH
#define STEPCREDIT_CUDA_SCRATCH_PIECES_CUH

#include <string.h>

#include "queue.cuh"

namespace gpu {

class ScratchPieces {
 public:
  // *piece will point to `count` elements, which may be none; it has to stay where it is until then.
  template <class Element>
  void add(Element** piece, int64_t count) {
    pieces_[count_++] = {piece, bytes_};
    bytes_ += (static_cast<size_t>(count) * sizeof(Element) + 255) / 256 * 256;
  }

  // False with the reason in `error` where there is no memory.
  bool allocate(Queue* queue, const char* op, ScError* error) const {
    char* const memory = static_cast<char*>(scratch(queue, bytes_, op, error));
    if (!memory) return false;
    for (int i = 0; i < count_; ++i) {
      char* const at = memory + pieces_[i].at;
      memcpy(pieces_[i].pointer, &at, sizeof at);
    }
    return true;
  }

 private:
  static constexpr int kMost = 8;
  struct Piece {
    void* pointer;
    size_t at;
  };
  Piece pieces_[kMost];
  int count_ = 0;
  size_t bytes_ = 0;
};

}  // namespace gpu

#endif
