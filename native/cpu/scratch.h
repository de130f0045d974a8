// Work items that need scratch memory: a block per worker, reused from item to item.

#ifndef STEPCREDIT_CPU_SCRATCH_H
#define STEPCREDIT_CPU_SCRATCH_H

#include <stdlib.h>
#include <string.h>

#include "../backend.h"
#include "parallel.h"

namespace {

inline int32_t fail(ScError* error, const char* text) {
  error->code = 1;
  strncpy(error->text, text, sizeof error->text - 1);
  return 1;
}

// body(item, scratch) for every item in 0 … items − 1, on the pool, with `bytes` of scratch memory (aligned to 64, not
// cleared). An item must not read what another left there. A worker that gets no memory leaves its share to the others.
template <class Body>
inline int32_t parallel_with_scratch(int64_t items, size_t bytes, ScError* error, const Body& body) {
  int64_t next = 0;
  const int64_t threads = sc_num_threads();
  parallel_chunks(items < threads ? items : threads, [&](int64_t) {
    void* const memory = malloc(bytes + 64);
    if (!memory) return;
    char* const aligned = static_cast<char*>(memory) + (64 - reinterpret_cast<uintptr_t>(memory) % 64);
    for (int64_t item; !sc_cancelled() && (item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < items;) body(item, aligned);
    free(memory);
  });
  return next < items && !sc_cancelled() ? fail(error, "no memory for the scratch space of a single thread") : 0;
}

}  // namespace

#endif
