// Sums over one row of numbers that its softmax, entropy and log-probabilities are made of, in one pass. Shared by whatever
// makes probabilities of logits.

#ifndef STEPCREDIT_CPU_SOFTMAX_ROW_H
#define STEPCREDIT_CPU_SOFTMAX_ROW_H

#include "simd.h"

namespace {

// Elements that are summed against one maximum, and in f32: small enough to be in the first cache if they are read again.
constexpr int64_t kSoftmaxBlock = 2048;

// Σ over a row of e = exp((x − top) · scale), with the `tops` elements that equal the maximum (e = 1) kept apart, so that
// log(Σ) = log1p(rest) keeps its relative accuracy where one logit towers over the others.
struct RowSums {
  float top;
  int64_t tops;
  double rest;      // Σ e over the elements below the maximum
  double weighted;  // Σ e · (x − top) · scale, only if asked for
  double squares;   // Σ e², only if asked for

  double total() const { return static_cast<double>(tops) + rest; }
  float log_total() const { return tops == 1 ? static_cast<float>(log1p(rest)) : static_cast<float>(log(total())); }
};

constexpr RowSums kNoSums = {-INFINITY, 0, 0.0, 0.0, 0.0};

// f32 sums of a block against a base, one per lane and unrolled step, and the block's maximum.
template <bool with_entropy, bool with_squares, int64_t steps>
struct BlockSums {
  VecF base, scale;
  VecF top[steps], sum[steps], weighted[steps], squares[steps];

  BlockSums(float block_base, float block_scale) : base(splat(block_base)), scale(splat(block_scale)) {
    for (int64_t u = 0; u < steps; ++u) top[u] = splat(-INFINITY), sum[u] = weighted[u] = squares[u] = VecF{};
  }

  // e of one vector; what is not `counted` is left out of the sum.
  void add(VecF e, VecF z, VecF counted, int64_t u) {
    sum[u] += counted;
    if (with_entropy) weighted[u] = fma(e, max(splat(-100.0f), z), weighted[u]);  // 0 · (−∞) = 0
    if (with_squares) squares[u] = fma(e, e, squares[u]);
  }
};

// By value: what a function is given a pointer to does not stay in registers in the loops before.
template <bool with_entropy, bool with_squares, int64_t steps>
inline void add_sums(BlockSums<with_entropy, with_squares, steps> of, RowSums* sums) {
  VecF all[3] = {};
  for (int64_t u = 0; u < steps; ++u) all[0] += of.sum[u], all[1] += of.weighted[u], all[2] += of.squares[u];
  sums->rest += static_cast<double>(sum_lanes(all[0]));
  if (with_entropy) sums->weighted += static_cast<double>(sum_lanes(all[1]));
  if (with_squares) sums->squares += static_cast<double>(sum_lanes(all[2]));
}

// visit(vector, i, u) for a block; a visitor that is not inlined reads its constants from memory at every vector, and the
// compiler leaves it out of line in large functions unless it is told. `steps` vectors at a time; lanes beyond the block's end
// hold −∞.
template <int64_t steps, class Element, class Visit>
inline void visit_block(const Element* block, int64_t count, const Visit& visit) {
  constexpr int64_t kLine = 64 / sizeof(Element);
  int64_t i = 0;
  for (; i + steps * kLanes <= count; i += steps * kLanes) {
    // The next block comes from memory while this one is in the arithmetic; beyond the row's end it is the next row.
    for (int64_t next = 0; next < steps * kLanes; next += kLine) __builtin_prefetch(block + i + next + kSoftmaxBlock);
    for (int64_t u = 0; u < steps; ++u) visit(load(block + i + u * kLanes), i + u * kLanes, u);
  }
  for (; i + kLanes <= count; i += kLanes) visit(load(block + i), i, 0);
  if (i < count) visit(load_part(block + i, count - i, -INFINITY), i, 0);
}

// What else is done at the vectors of a block while they are summed.
struct NothingElse {
  // Once for every vector, before anything is kept of it.
  void before(int64_t) const {}
  // e of a vector, against the sums' maximum after the block; of one that is kept twice the later counts.
  void keep(int64_t, VecF) const {}
};

// The maximum of a block is not known before it has been read, but rarely exceeds that of the blocks before: they serve as the
// base, and where an element reaches it the block is done again, against its own maximum.
template <bool with_entropy, bool with_squares, class Element, class Else = NothingElse>
inline RowSums add_block(RowSums sums, const Element* block, int64_t count, float scale, const Else& other = Else()) {
  float top;
  {
    constexpr int64_t kSteps = 4;
    BlockSums<with_entropy, with_squares, kSteps> of(sums.top == -INFINITY ? 0.0f : sums.top, scale);
    const auto sum = [&](VecF x, int64_t i, int64_t u) __attribute__((always_inline)) {
      const VecF z = (x - of.base) * of.scale;
      const VecF e = exp_of_shifted(z);
      other.before(i);
      other.keep(i, e);
      of.top[u] = max(of.top[u], x);
      of.add(e, z, e, u);
    };
    const auto search = [&](VecF x, int64_t i, int64_t u) __attribute__((always_inline)) {
      other.before(i);
      of.top[u] = max(of.top[u], x);
    };
    if (sums.top == -INFINITY)
      visit_block<kSteps>(block, count, search);
    else
      visit_block<kSteps>(block, count, sum);
    top = max_lanes(max(max(of.top[0], of.top[1]), max(of.top[2], of.top[3])));
    if (top < sums.top) {
      add_sums(of, &sums);
      return sums;
    }
  }
  if (top > sums.top) {
    if (sums.tops > 0 || sums.rest != 0.0) {
      const double shift = (static_cast<double>(sums.top) - static_cast<double>(top)) * static_cast<double>(scale);
      const double factor = ::exp(shift);
      if (with_entropy) sums.weighted = factor * (sums.weighted + shift * sums.total());
      if (with_squares) sums.squares *= factor * factor;
      sums.rest = factor * sums.total();
      sums.tops = 0;
      if (factor == 0.0) sums.weighted = 0.0;
    }
    sums.top = top;
  }
  const bool masked = sums.top == -INFINITY;  // nothing but −∞ so far, or NaN: x − x is NaN there and 0 at −∞
  constexpr int64_t kSteps = 2;
  BlockSums<with_entropy, with_squares, kSteps> of(masked ? 0.0f : sums.top, scale);
  VecI equal[kSteps] = {};
  visit_block<kSteps>(
      block, count, [&](VecF x, int64_t i, int64_t u) __attribute__((always_inline)) {
        const VecF z = (x - of.base) * of.scale;
        const VecF e = exp_of_shifted(z);
        other.keep(i, e);
        const VecI is_top = x == of.base;
        equal[u] -= is_top;
        of.add(e, z, is_top ? VecF{} : e, u);
      });
  add_sums(of, &sums);
  const VecI counts = equal[0] + equal[1];
  if (!masked)
    for (int64_t lane = 0; lane < kLanes; ++lane) sums.tops += counts[lane];
  return sums;
}

// The sums of a row of which the next V elements are `x`, from those of the elements before. A row that comes in pieces has
// the bits of a whole one where all pieces but the last are a multiple of kSoftmaxBlock.
template <bool with_entropy, bool with_squares, class Element>
inline RowSums extend_sums(RowSums sums, const Element* x, int64_t V, float scale) {
  for (int64_t begin = 0; begin < V; begin += kSoftmaxBlock)
    sums = add_block<with_entropy, with_squares>(sums, x + begin, begin + kSoftmaxBlock < V ? kSoftmaxBlock : V - begin, scale);
  return sums;
}

template <bool with_entropy, bool with_squares, class Element>
inline RowSums sum_row(const Element* x, int64_t V, float scale) {
  return extend_sums<with_entropy, with_squares>(kNoSums, x, V, scale);
}

inline float row_entropy(const RowSums& sums) {
  if (sums.top == -INFINITY) return static_cast<float>(sums.rest);  // 0, or NaN
  return static_cast<float>(static_cast<double>(sums.log_total()) - sums.weighted / sums.total());
}

inline float row_sum_squares(const RowSums& sums) {
  return sums.top == -INFINITY ? 0.0f : static_cast<float>(sums.squares / (sums.total() * sums.total()));
}

inline float row_lse(const RowSums& sums, float scale) {
  if (sums.top == -INFINITY) return sums.rest == 0.0 ? -INFINITY : static_cast<float>(sums.rest);
  return sums.top * scale + sums.log_total();
}

inline float row_logprob(const RowSums& sums, float logit, float scale) {
  if (sums.top == -INFINITY) return sums.rest == 0.0 ? -INFINITY : static_cast<float>(sums.rest);
  return (logit - sums.top) * scale - sums.log_total();
}

}  // namespace

#endif
