// sc_parallel for lambdas.

#ifndef STEPCREDIT_CPU_PARALLEL_H
#define STEPCREDIT_CPU_PARALLEL_H

#include "pool.h"

namespace {

// body(chunk) for every chunk, on the pool.
template <class Body>
inline void parallel_chunks(int64_t chunks, const Body& body) {
  sc_parallel(
      chunks, [](void* context, int64_t chunk) { (*static_cast<const Body*>(context))(chunk); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// body(begin, end) over 0 … count in blocks of `block`.
template <class Body>
inline void parallel_blocks(int64_t count, int64_t block, const Body& body) {
  parallel_chunks((count + block - 1) / block, [&](int64_t chunk) {
    const int64_t begin = chunk * block;
    const int64_t end = begin + block < count ? begin + block : count;
    body(begin, end);
  });
}

}  // namespace

#endif
