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

// The partial sums of all chunks; none where there was no memory for them.
class PartialSums {
 public:
  explicit PartialSums(int64_t chunks)
      : chunks_(chunks),
        partial_(static_cast<LossSums*>(malloc(sizeof(LossSums) * static_cast<size_t>(chunks > 0 ? chunks : 1)))) {}
  PartialSums(const PartialSums&) = delete;
  PartialSums& operator=(const PartialSums&) = delete;
  ~PartialSums() { free(partial_); }

  bool none() const { return !partial_; }

  // Those of a chunk, cleared. Each chunk is taken once.
  LossSums* of(int64_t chunk) const {
    clear(partial_ + chunk);
    return partial_ + chunk;
  }

  // Adds them in order.
  void total(double* metrics) const {
    LossSums all;
    clear(&all);
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) add(&all, partial_[chunk]);
    memcpy(metrics, all.of, sizeof all.of);
  }

 private:
  int64_t chunks_;
  LossSums* partial_;
};

// Runs body(chunk, sums) for every chunk and adds the partial sums in order.
template <class Body>
inline int32_t with_loss_sums(int64_t chunks, double* metrics, ScError* error, const char* no_memory, const Body& body) {
  const PartialSums partial(chunks);
  if (partial.none()) return out_of_memory(error, no_memory);
  parallel_chunks(chunks, [&](int64_t chunk) { body(chunk, partial.of(chunk)); });
  partial.total(metrics);
  return 0;
}

}  // namespace

#endif
