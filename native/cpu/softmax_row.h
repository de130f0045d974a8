// One row of logits: its running maximum and sums in one pass, and its gradient in a second. Shared by logprobs and the fused
// policy update.

#ifndef STEPCREDIT_CPU_SOFTMAX_ROW_H
#define STEPCREDIT_CPU_SOFTMAX_ROW_H

#include <stdlib.h>

#include "simd.h"

namespace {

// Elements whose maximum is taken before they are summed: small enough to be in the first cache when they are read again.
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

// The sums of a row of which the next V elements are `x`, from those of the elements before. A row that comes in pieces has
// the bits of a whole one where all pieces but the last are a multiple of kSoftmaxBlock.
template <bool with_entropy, bool with_squares>
inline RowSums extend_sums(RowSums sums, const float* x, int64_t V, float scale) {
  for (int64_t begin = 0; begin < V; begin += kSoftmaxBlock) {
    const int64_t count = begin + kSoftmaxBlock < V ? kSoftmaxBlock : V - begin;
    const float* block = x + begin;
    const int64_t whole = count - count % kLanes;

    VecF tops4[4] = {splat(-INFINITY), splat(-INFINITY), splat(-INFINITY), splat(-INFINITY)};
    int64_t i = 0;
    for (; i + 4 * kLanes <= whole; i += 4 * kLanes)
      for (int64_t u = 0; u < 4; ++u) tops4[u] = max(tops4[u], load(block + i + u * kLanes));
    for (; i < whole; i += kLanes) tops4[0] = max(tops4[0], load(block + i));
    if (whole < count) tops4[0] = max(tops4[0], load_part(block + whole, count - whole, -INFINITY));
    const float top = max_lanes(max(max(tops4[0], tops4[1]), max(tops4[2], tops4[3])));

    if (top > sums.top) {
      if (sums.tops > 0 || sums.rest != 0.0) {
        const double shift = static_cast<double>(sums.top - top) * scale;
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
    const VecF base = splat(masked ? 0.0f : sums.top);
    const VecF factor = splat(scale);

    VecF rest[2] = {}, weighted[2] = {}, squares[2] = {};
    VecI equal[2] = {};
    auto add = [&](VecF logits, int64_t u) {
      const VecF z = (logits - base) * factor;
      const VecF e = exp(z);
      const VecI is_top = logits == base;
      rest[u] += is_top ? VecF{} : e;
      equal[u] -= is_top;
      if (with_entropy) weighted[u] += e > splat(0.0f) ? e * z : VecF{};
      if (with_squares) squares[u] = fma(e, e, squares[u]);
    };
    i = 0;
    for (; i + 2 * kLanes <= whole; i += 2 * kLanes) {
      // The next block comes from memory while this one is in the arithmetic; beyond the row's end it is the next row.
      for (int64_t line = 0; line < 2 * kLanes; line += 16) __builtin_prefetch(block + i + line + kSoftmaxBlock);
      add(load(block + i), 0);
      add(load(block + i + kLanes), 1);
    }
    for (; i < whole; i += kLanes) add(load(block + i), 0);
    if (whole < count) add(load_part(block + whole, count - whole, -INFINITY), 0);
    VecI counts = equal[0] + equal[1];
    if (!masked)
      for (int64_t lane = 0; lane < kLanes; ++lane) sums.tops += counts[lane];
    sums.rest += static_cast<double>(sum_lanes(rest[0] + rest[1]));
    if (with_entropy) sums.weighted += static_cast<double>(sum_lanes(weighted[0] + weighted[1]));
    if (with_squares) sums.squares += static_cast<double>(sum_lanes(squares[0] + squares[1]));
  }
  return sums;
}

template <bool with_entropy, bool with_squares>
inline RowSums sum_row(const float* x, int64_t V, float scale) {
  return extend_sums<with_entropy, with_squares>(kNoSums, x, V, scale);
}

inline float row_entropy(const RowSums& sums) {
  if (sums.top == -INFINITY) return static_cast<float>(sums.rest);  // 0, or NaN
  return static_cast<float>(static_cast<double>(sums.log_total()) - sums.weighted / sums.total());
}

inline float row_lse(const RowSums& sums, float scale) {
  if (sums.top == -INFINITY) return sums.rest == 0.0 ? -INFINITY : static_cast<float>(sums.rest);
  return sums.top * scale + sums.log_total();
}

inline float row_logprob(const RowSums& sums, float logit, float scale) {
  if (sums.top == -INFINITY) return sums.rest == 0.0 ? -INFINITY : static_cast<float>(sums.rest);
  return (logit - sums.top) * scale - sums.log_total();
}

// dlogits of one row: scale · ( Σ_k g[k] (1[v = targets[k]] − p[v]) − dentropy · p[v] (log p[v] + entropy) ),
// with p[v] = exp((x[v] − base) · scale − log_total). `out` may be `x`.
inline void row_gradient(const float* x, int64_t V, float scale, float base, float log_total, const int32_t* targets,
                         const float* g, int64_t count, float dentropy, float entropy, float* out) {
  float G = 0.0f;
  bool any = dentropy != 0.0f;
  for (int64_t k = 0; k < count; ++k) {
    G += g[k];
    any = any || g[k] != 0.0f;
  }
  if (!any || base == -INFINITY || log_total == -INFINITY) {
    memset(out, 0, static_cast<size_t>(V) * sizeof(float));
    return;
  }
  // What is needed of the targets' logits, read before they may be overwritten: the one target that holds most of the
  // probability, if any, and which of them are masked.
  int32_t likely = -1;
  float likely_logp = 0.0f;
  for (int64_t k = 0; k < count; ++k) {
    const float logp = (x[targets[k]] - base) * scale - log_total;
    if (expf(logp) >= 0.75f) likely = targets[k], likely_logp = logp;
  }
  unsigned char few[64];
  unsigned char* masked = count <= 64 ? few : static_cast<unsigned char*>(malloc(static_cast<size_t>(count)));
  for (int64_t k = 0; masked && k < count; ++k) masked[k] = x[targets[k]] == -INFINITY;

  const VecF zero = {};
  const VecF vbase = splat(base), vscale = splat(scale), vlog = splat(log_total);
  const VecF vG = splat(-G * scale);
  VecF others[2] = {};
  if (dentropy == 0.0f) {
    auto step = [&](VecF logits, int64_t u) {
      const VecF p = exp((logits - vbase) * vscale - vlog);
      others[u] += p < splat(0.7f) ? p : zero;
      return vG * p;
    };
    int64_t v = 0;
    for (; v + 2 * kLanes <= V; v += 2 * kLanes) {
      store(out + v, step(load(x + v), 0));
      store(out + v + kLanes, step(load(x + v + kLanes), 1));
    }
    for (; v + kLanes <= V; v += kLanes) store(out + v, step(load(x + v), 0));
    if (v < V) store_part(out + v, step(load_part(x + v, V - v, -INFINITY), 0), V - v);
  } else {
    const VecF vH = splat(entropy), vdH = splat(-dentropy * scale);
    auto step = [&](VecF logits) {
      const VecF logp = (logits - vbase) * vscale - vlog;
      const VecF p = exp(logp);
      others[0] += p < splat(0.7f) ? p : zero;
      return fma(vG, p, p > zero ? vdH * p * (logp + vH) : zero);
    };
    int64_t v = 0;
    for (; v + kLanes <= V; v += kLanes) store(out + v, step(load(x + v)));
    if (v < V) store_part(out + v, step(load_part(x + v, V - v, -INFINITY)), V - v);
  }
  const float rest = sum_lanes(others[0] + others[1]);

  for (int64_t k = 0; k < count; ++k) {
    const int32_t target = targets[k];
    bool first = true;
    for (int64_t j = 0; j < k && first; ++j) first = targets[j] != target;
    if (!first) continue;
    float own = 0.0f;
    for (int64_t j = k; j < count; ++j) own += targets[j] == target ? g[j] : 0.0f;
    if (target == likely) {
      // own − G p = (own − G) + G (1 − p), and 1 − p is the sum of the others: nothing cancels when the policy is sure.
      float d = (own - G) + G * rest;
      if (dentropy != 0.0f) d -= dentropy * expf(likely_logp) * (likely_logp + entropy);
      out[target] = d * scale;
    } else if (!masked || !masked[k]) {
      out[target] += own * scale;
    }
  }
  if (masked != few) free(masked);
}

}  // namespace

#endif
