// scatter_advantages, scatter_advantages_by_offsets and their transposes. A pair of credits is moved as one 64-bit word.

#include <stdlib.h>

#include "cpu.h"
#include "loss_sums.h"

namespace SC_ISA {

namespace {

uint64_t load_pair(const float* from) {
  uint64_t pair;
  memcpy(&pair, from, sizeof pair);
  return pair;
}

// Targets that a worker takes at a time.
constexpr int64_t kScatterBlock = 65536;

}  // namespace

int32_t scatter_advantages(const ScatterAdvantagesArgs* args, ScStream, ScError*) {
  parallel_blocks(args->N, kScatterBlock, [&](int64_t begin, int64_t end) {
    const float none[2] = {0.0f, 0.0f};
    const float* credits = args->step_credits;
    for (int64_t n = begin; n < end; ++n) {
      const int64_t s = args->step_of[n];
      const uint64_t pair = load_pair(s < 0 ? none : credits + 2 * s);
      memcpy(args->advantages + 2 * n, &pair, sizeof pair);
    }
  });
  return 0;
}

int32_t scatter_advantages_backward(const ScatterAdvantagesBackwardArgs* args, ScStream, ScError* error) {
  double* sums = static_cast<double*>(calloc(static_cast<size_t>(2 * args->S + 1), sizeof(double)));
  if (!sums) return out_of_memory(error, "scatter_advantages_backward: no memory for the sums");
  for (int64_t n = 0; n < args->N; ++n) {
    const int64_t s = args->step_of[n];
    if (s < 0) continue;
    sums[2 * s] += static_cast<double>(args->dadvantages[2 * n]);
    sums[2 * s + 1] += static_cast<double>(args->dadvantages[2 * n + 1]);
  }
  for (int64_t i = 0; i < 2 * args->S; ++i) args->dstep_credits[i] = static_cast<float>(sums[i]);
  free(sums);
  return 0;
}

int32_t scatter_advantages_by_offsets(const ScatterByOffsetsArgs* args, ScStream, ScError*) {
  parallel_blocks(args->N, kScatterBlock, [&](int64_t begin, int64_t end) {
    int64_t low = 0, high = args->S;  // the first step that ends behind `begin`
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (args->step_offsets[middle + 1] <= begin) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    const auto fill = [&](int64_t first, int64_t last, uint64_t pair) {
      for (int64_t n = first; n < last; ++n) memcpy(args->advantages + 2 * n, &pair, sizeof pair);
    };
    int64_t n = begin;
    for (int64_t s = low; s < args->S && n < end; ++s) {
      const int64_t first = args->step_offsets[s], last = args->step_offsets[s + 1];
      if (first > n) fill(n, first < end ? first : end, 0), n = first;
      if (n >= end) break;
      fill(n, last < end ? last : end, load_pair(args->step_credits + 2 * s));
      n = last > n ? last : n;
    }
    if (n < end) fill(n, end, 0);
  });
  return 0;
}

int32_t scatter_advantages_by_offsets_backward(const ScatterByOffsetsBackwardArgs* args, ScStream, ScError*) {
  parallel_blocks(args->S, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      double positive = 0.0, negative = 0.0;
      for (int64_t n = args->step_offsets[s]; n < args->step_offsets[s + 1]; ++n) {
        positive += static_cast<double>(args->dadvantages[2 * n]);
        negative += static_cast<double>(args->dadvantages[2 * n + 1]);
      }
      args->dstep_credits[2 * s] = static_cast<float>(positive);
      args->dstep_credits[2 * s + 1] = static_cast<float>(negative);
    }
  });
  return 0;
}

}  // namespace SC_ISA
