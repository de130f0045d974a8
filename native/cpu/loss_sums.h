// Sums of a loss and its metrics over targets, in an order that does not depend on the threads.

#ifndef STEPCREDIT_CPU_LOSS_SUMS_H
#define STEPCREDIT_CPU_LOSS_SUMS_H

#include <stdlib.h>
#include <string.h>

#include "../backend.h"
#include "parallel.h"

namespace {

// Targets per partial sum: fixed, so that the metrics do not depend on the threads.
constexpr int64_t kTargetBlock = 4096;

// Partial sums of a block of targets, in the order of ScLossMetric.
struct LossSums {
  double of[kLossMetrics];
};

inline void clear(LossSums* sums) { memset(sums, 0, sizeof *sums); }

inline void add(LossSums* sums, const LossSums& block) {
  for (int metric = 0; metric < kLossMetrics; ++metric) {
    if (metric == kMetricRatioMax) {
      if (block.of[metric] > sums->of[metric]) sums->of[metric] = block.of[metric];
    } else {
      sums->of[metric] += block.of[metric];
    }
  }
}

inline int32_t out_of_memory(ScError* error, const char* text) {
  error->code = 1;
  strncpy(error->text, text, sizeof error->text - 1);
  return 1;
}

// Runs body(chunk, sums) for every chunk and adds the partial sums in order.
template <class Body>
inline int32_t with_loss_sums(int64_t chunks, double* metrics, ScError* error, const char* no_memory, const Body& body) {
  LossSums all;
  clear(&all);
  LossSums* partial = static_cast<LossSums*>(malloc(sizeof(LossSums) * static_cast<size_t>(chunks > 0 ? chunks : 1)));
  if (!partial) return out_of_memory(error, no_memory);
  parallel_chunks(chunks, [&](int64_t chunk) {
    clear(partial + chunk);
    body(chunk, partial + chunk);
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk) add(&all, partial[chunk]);
  free(partial);
  memcpy(metrics, all.of, sizeof all.of);
  return 0;
}

}  // namespace

#endif
