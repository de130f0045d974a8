// scatter_advantages, scatter_advantages_by_offsets and their transposes. A pair of credits is moved as one 64-bit word.

#include <stdlib.h>

#include "cpu.h"
#include "loss_sums.h"
#include "simd_loss.h"

namespace SC_ISA {

namespace {

typedef int64_t VecL __attribute__((vector_size(SC_VECTOR_BYTES)));
typedef int32_t HalfI __attribute__((vector_size(SC_VECTOR_BYTES / 2)));

// Targets that a worker takes at a time.
constexpr int64_t kScatterBlock = 32768;

VecL splat_pair(int64_t pair) { return pair - VecL{}; }

void put_pair(float* to, int64_t pair) { memcpy(to, &pair, sizeof pair); }

int64_t load_pair(const float* from) {
  int64_t pair;
  memcpy(&pair, from, sizeof pair);
  return pair;
}

int64_t pair_of(const float* credits, int32_t step) {
  return step < 0 ? 0 : load_pair(credits + 2 * static_cast<int64_t>(step));
}

// `yes` where the lane of the mask is set.
void put_chosen(float* to, HalfI mask, int64_t yes, int64_t no) {
  const VecL pairs = __builtin_convertvector(mask, VecL) ? splat_pair(yes) : splat_pair(no);
  memcpy(to, &pairs, sizeof pairs);
}

// Bits of the lanes that differ.
uint32_t differing_lanes(VecI a, VecI b) {
#if defined(__AVX512F__)
  return _mm512_cmpneq_epi32_mask((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)(VecF)(a != b)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps((__m128)(VecF)(a != b)));
#else
  uint32_t bits = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) bits |= static_cast<uint32_t>(a[lane] != b[lane]) << lane;
  return bits;
#endif
}

// The targets of a step lie side by side, mostly: a vector of targets that has at most two steps, its first and its last, is
// made of two pairs without a branch on where the one ends.
void scatter_block(const float* credits, const int32_t* step_of, int64_t count, float* advantages) {
  int64_t n = 0;
  for (; n + kLanes <= count; n += kLanes) {
    VecI steps;
    memcpy(&steps, step_of + n, sizeof steps);
    const int32_t first = step_of[n], last = step_of[n + kLanes - 1];
    const VecI is_first = steps == splat_int(first);
    if ((differing_lanes(steps, splat_int(first)) & differing_lanes(steps, splat_int(last))) != 0) {
      for (int64_t m = n; m < n + kLanes; ++m) put_pair(advantages + 2 * m, pair_of(credits, step_of[m]));
      continue;
    }
    const int64_t yes = pair_of(credits, first), no = pair_of(credits, last);
    HalfI halves[2];
    memcpy(halves, &is_first, sizeof halves);
    put_chosen(advantages + 2 * n, halves[0], yes, no);
    put_chosen(advantages + 2 * n + kLanes, halves[1], yes, no);
  }
  for (; n < count; ++n) put_pair(advantages + 2 * n, pair_of(credits, step_of[n]));
}

// ── the transpose

// Runs end at multiples of it, so that their bounds depend on the targets alone.
constexpr int64_t kSegment = 8192;
// Segments whose runs are held at a time: 8 MiB where every target is a run.
constexpr int64_t kHeldSegments = 32;

// Of a pair.
typedef double Sums __attribute__((vector_size(16)));

// A step's targets that lie side by side within a segment: their sums.
struct Run {
  Sums sums;
  int64_t step;
};

// Where the run that begins at `n` ends.
int64_t run_end(const int32_t* step_of, int64_t n, int64_t count) {
  const int32_t step = step_of[n];
  if (n + 1 == count || step_of[n + 1] != step)
    return n + 1;  // a branch, so that the next run need not wait for this one's end
  for (++n; n + kLanes <= count; n += kLanes) {
    VecI steps;
    memcpy(&steps, step_of + n, sizeof steps);
    const uint32_t other = differing_lanes(steps, splat_int(step));
    if (other != 0) return n + __builtin_ctz(other);
  }
  while (n < count && step_of[n] == step) ++n;
  return n;
}

Sums load_sums(const double* from) {
  Sums sums;
  memcpy(&sums, from, sizeof sums);
  return sums;
}

Sums doubled_pair(const float* from) {
  typedef float Pair __attribute__((vector_size(8)));
  Pair pair;
  memcpy(&pair, from, sizeof pair);
  return __builtin_convertvector(pair, Sums);
}

// Four sums side by side, each of every fourth target, whatever the vectors of the instruction set.
Run sum_of_run(const float* dadvantages, int64_t count, int64_t step) {
  if (count == 1) return {doubled_pair(dadvantages), step};
  VecD four[16 / kLanes] = {};
  int64_t n = 0;
  for (; n + 4 <= count; n += 4)
    for (int64_t i = 0; i < 16 / kLanes; ++i) four[i] += load_doubled(dadvantages + 2 * n + i * kLanes / 2);
  Sums of[4];
  memcpy(of, four, sizeof of);
  Sums sums = (of[0] + of[2]) + (of[1] + of[3]);
  for (; n < count; ++n) sums += doubled_pair(dadvantages + 2 * n);
  return {sums, step};
}

// visit(run) for the runs of a segment, in order; targets without a step have none.
template <class Visit>
inline void each_run(const ScatterAdvantagesBackwardArgs& args, int64_t segment, const Visit& visit) {
  const int64_t begin = segment * kSegment, count = begin + kSegment < args.N ? kSegment : args.N - begin;
  const int32_t* step_of = args.step_of + begin;
  const float* dadvantages = args.dadvantages + 2 * begin;
  for (int64_t n = 0, end; n < count; n = end) {
    end = run_end(step_of, n, count);
    if (step_of[n] >= 0) visit(sum_of_run(dadvantages + 2 * n, end - n, step_of[n]));
  }
}

void add_run(double* sums, const Run& run) {
  const Sums added = load_sums(sums + 2 * run.step) + run.sums;
  memcpy(sums + 2 * run.step, &added, sizeof added);
}

// The runs of some segments at a time are made in parallel and added in order.
void add_segments(const ScatterAdvantagesBackwardArgs& args, int64_t segments, Run* runs, double* sums) {
  for (int64_t first = 0; first < segments && !sc_cancelled(); first += kHeldSegments) {
    const int64_t held = first + kHeldSegments < segments ? kHeldSegments : segments - first;
    int64_t counts[kHeldSegments] = {};
    parallel_chunks(held, [&](int64_t i) {
      Run* to = runs + i * kSegment;
      each_run(args, first + i, [&](const Run& run) { *to++ = run; });
      counts[i] = to - (runs + i * kSegment);
    });
    for (int64_t i = 0; i < held; ++i)
      for (int64_t k = 0; k < counts[i]; ++k) add_run(sums, runs[i * kSegment + k]);
  }
}

}  // namespace

int32_t scatter_advantages(const ScatterAdvantagesArgs* args, ScStream, ScError*) {
  const ScatterAdvantagesArgs of = *args;
  parallel_blocks(of.N, kScatterBlock, [of](int64_t begin, int64_t end) {
    scatter_block(of.step_credits, of.step_of + begin, end - begin, of.advantages + 2 * begin);
  });
  return 0;
}

int32_t scatter_advantages_backward(const ScatterAdvantagesBackwardArgs* args, ScStream, ScError* error) {
  const int64_t segments = (args->N + kSegment - 1) / kSegment;
  const int64_t held = segments < kHeldSegments ? segments : kHeldSegments;
  const bool alone = segments <= 1 || sc_num_threads() == 1;  // then no run need be held
  double* sums = static_cast<double*>(calloc(static_cast<size_t>(2 * args->S + 1), sizeof(double)));
  Run* runs = alone ? nullptr : static_cast<Run*>(malloc(static_cast<size_t>(held * kSegment) * sizeof(Run)));
  if (!sums || (!alone && !runs)) {
    free(sums);
    free(runs);
    return out_of_memory(error, "scatter_advantages_backward: no memory for the sums");
  }
  if (alone) {
    for (int64_t segment = 0; segment < segments; ++segment)
      each_run(*args, segment, [&](const Run& run) { add_run(sums, run); });
  } else {
    add_segments(*args, segments, runs, sums);
  }
  for (int64_t i = 0; i < 2 * args->S; ++i) args->dstep_credits[i] = static_cast<float>(sums[i]);
  free(runs);
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
    float* const advantages = args->advantages;
    const auto fill = [advantages](int64_t first, int64_t last, int64_t pair) {
      for (int64_t n = first; n < last; ++n) put_pair(advantages + 2 * n, pair);
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
