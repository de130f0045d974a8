// A row of logits of any dtype with what becomes of a logit on its way to the softmax, its support and its targets; what the
// row says about them. The formulas are those of LogitRows and logprobs in ops.h.

#ifndef STEPCREDIT_CPU_LOGIT_ROW_H
#define STEPCREDIT_CPU_LOGIT_ROW_H

#include "elements.h"
#include "softmax_row.h"

namespace {

// z = y · scale, where y is the logit itself or softcap · tanh(inside · logit).
struct LogitChain {
  float scale;
  float softcap;  // 0: none
  float inside;
  float slope;  // dz/dlogit = slope · (1 − (y / softcap)²)

  VecF cap(VecF logits) const { return splat(softcap) * tanh(splat(inside) * logits); }

  // 1 − (y / softcap)²
  VecF bend(VecF y) const {
    const VecF t = y / splat(softcap);
    return (splat(1.0f) - t) * (splat(1.0f) + t);
  }
};

inline LogitChain logit_chain(float logit_scale, float softcap, float temperature) {
  const float slope = logit_scale / temperature;
  if (softcap > 0.0f) return {1.0f / temperature, softcap, logit_scale / softcap, slope};
  return {slope, 0.0f, 0.0f, slope};
}

inline float first_lane(VecF v) { return v[0]; }

template <class Element>
struct LogitRow {
  const Element* logits;
  int64_t V;
  LogitChain chain;
  const uint8_t* keep;  // null: all of the vocabulary is in the support
  const int32_t* targets;
  int64_t count;  // of targets
  int32_t ignore_index;

  // y of one entry
  float y(int64_t v) const {
    const float logit = to_float(logits + v);
    return chain.softcap > 0.0f ? first_lane(chain.cap(splat(logit))) : logit;
  }
  bool kept(int64_t v) const { return !keep || (keep[v >> 3] >> (v & 7) & 1); }
  bool ignored(int64_t k) const { return targets[k] == ignore_index; }
  bool has_targets() const {
    for (int64_t k = 0; k < count; ++k)
      if (!ignored(k)) return true;
    return false;
  }
};

template <class Element>
inline LogitRow<Element> logit_row(const LogitRows& rows, int64_t t) {
  const int64_t first = rows.target_offsets[t];
  return {static_cast<const Element*>(rows.logits) + t * rows.V,
          rows.V,
          logit_chain(rows.logit_scale, rows.softcap, rows.temperatures ? rows.temperatures[t] : rows.temperature),
          rows.keep ? rows.keep + t * ((rows.V + 7) / 8) : nullptr,
          rows.targets + first,
          rows.target_offsets[t + 1] - first,
          rows.ignore_index};
}

// Lanes v … v + kLanes of a row's support; v is a multiple of kLanes, and nothing beyond the row's last byte is read.
inline VecI kept_lanes(const uint8_t* keep, int64_t v, int64_t V) {
  uint32_t bits = keep[v >> 3];
  if (kLanes > 8 && (v >> 3) + 1 < (V + 7) / 8) bits |= static_cast<uint32_t>(keep[(v >> 3) + 1]) << 8;
  return lanes_of(bits >> (v & 7));
}

// body(block, begin, count) for the blocks of y of a row: the logits as they lie, or a copy where they are capped or, with
// `support`, hold entries outside of it, which become −∞.
template <class Element, class Body>
inline void for_blocks(const LogitRow<Element>& row, bool support, const Body& body) {
  float copy[kSoftmaxBlock];
  const bool masked = support && row.keep, capped = row.chain.softcap > 0.0f;
  for (int64_t begin = 0; begin < row.V; begin += kSoftmaxBlock) {
    const int64_t count = begin + kSoftmaxBlock < row.V ? kSoftmaxBlock : row.V - begin;
    if (!masked && !capped) {
      body(row.logits + begin, begin, count);
      continue;
    }
    for (int64_t i = 0; i < count; i += kLanes) {
      const int64_t here = count - i < kLanes ? count - i : kLanes;
      VecF y = here == kLanes ? load(row.logits + begin + i) : load_part(row.logits + begin + i, here, 0.0f);
      if (capped) y = row.chain.cap(y);
      if (masked) y = kept_lanes(row.keep, begin + i, row.V) ? y : splat(-INFINITY);
      store_part(copy + i, y, here);
    }
    body(static_cast<const float*>(copy), begin, count);
  }
}

template <bool with_entropy, bool with_squares, class Element>
inline RowSums sums_of(const LogitRow<Element>& row, bool support) {
  RowSums sums = kNoSums;
  for_blocks(row, support, [&](const auto* block, int64_t, int64_t count) {
    sums = add_block<with_entropy, with_squares>(sums, block, count, row.chain.scale);
  });
  return sums;
}

// Of the support, and of the whole vocabulary where entropy or squares were asked for or the two are the same.
struct RowTotals {
  RowSums support;
  RowSums full;
};

template <bool with_entropy, bool with_squares, class Element>
inline RowTotals totals_of(const LogitRow<Element>& row) {
  if (!row.keep) {
    const RowSums sums = sums_of<with_entropy, with_squares>(row, false);
    return {sums, sums};
  }
  const RowSums support = sums_of<false, false>(row, true);
  return {support, with_entropy || with_squares ? sums_of<with_entropy, with_squares>(row, false) : kNoSums};
}

// log-probability of the k-th target; 0 where it is ignored.
template <class Element>
inline float target_logprob(const LogitRow<Element>& row, const RowSums& support, int64_t k) {
  if (row.ignored(k)) return 0.0f;
  const int64_t v = row.targets[k];
  const float y = row.y(v);
  if (row.kept(v) || y == -INFINITY)
    return y == -INFINITY && support.rest == support.rest ? -INFINITY : row_logprob(support, y, row.chain.scale);
  if (support.top == -INFINITY && support.rest == 0.0) return y == y ? 0.0f : y;  // nothing is kept but the target
  // p = e / (Σ + e) = 1 / (1 + exp(−odds))
  const double odds = static_cast<double>(row_logprob(support, y, row.chain.scale));
  return static_cast<float>(odds < 0.0 ? odds - log1p(::exp(odds)) : -log1p(::exp(-odds)));
}

}  // namespace

#endif
