// The gradient of one row of logits: that of logprobs_backward in ops.h, block by block, so that a row may be overwritten.

#ifndef STEPCREDIT_CPU_LOGIT_GRADIENT_H
#define STEPCREDIT_CPU_LOGIT_GRADIENT_H

#include "logit_row.h"

namespace {

template <bool of>
struct Constant {
  static constexpr bool value = of;
};

// body(Constant<…>) of a condition.
template <class Body>
inline void with_constant(bool condition, const Body& body) {
  if (condition)
    body(Constant<true>{});
  else
    body(Constant<false>{});
}

// Results from here on are streamed past the caches: nobody reads them from there before they are pushed out.
constexpr int64_t kStreamedBytes = 32 << 20;

template <class Element>
inline bool streams(const LogitRows& rows, const void* dlogits) {
  return dlogits != rows.logits && rows.T * rows.V * static_cast<int64_t>(sizeof(Element)) >= kStreamedBytes;
}

// What probabilities are taken against: p = exp((y − base) · scale − log_total).
struct Normaliser {
  float base;
  float log_total;

  bool empty() const { return base == -INFINITY || log_total == -INFINITY; }
};

inline Normaliser normaliser_of(const RowSums& sums) {
  return {sums.top, sums.top == -INFINITY && sums.rest != sums.rest ? NAN : sums.log_total()};
}

// ∂/∂logprobs of the targets and ∂/∂entropy of the row, with what the probabilities are taken against.
struct RowUpstream {
  Normaliser support;
  Normaliser full;         // only where dentropy is not 0
  const float* dlogprobs;  // one per target
  float dentropy;
  float entropy;
};

// Stores a block of results. Entries before and after whole vectors of a streamed one go the usual way.
template <class Element>
inline void store_block(Element* to, const float* from, int64_t count, bool streamed) {
  int64_t i = 0;
  if (streamed) {
    constexpr uintptr_t kBytes = kLanes * sizeof(Element);
    const uintptr_t over = reinterpret_cast<uintptr_t>(to) % kBytes;
    const int64_t head = over == 0 ? 0 : static_cast<int64_t>((kBytes - over) / sizeof(Element));
    if (over % sizeof(Element) == 0 && head < count) {
      if (head > 0) store_part(to, load_part(from, head, 0.0f), head);
      for (i = head; i + kLanes <= count; i += kLanes) stream(to + i, load(from + i));
    }
  }
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_part(to + i, load_part(from + i, count - i, 0.0f), count - i);
}

// The targets' part of a row's gradient, and the number that all other entries of the support need.
template <class Element>
struct TargetGradients {
  const LogitRow<Element>& row;
  const RowUpstream& up;
  float G;             // Σ dlogprobs, those of targets outside the support times the share of the support
  bool any;            // whether there is a gradient at all
  int32_t likely;      // the target that holds most of the probability, −1: none
  float likely_y = 0;  // read before it may be overwritten

  TargetGradients(const LogitRow<Element>& of, const RowUpstream& upstream)
      : row(of), up(upstream), G(0.0f), any(upstream.dentropy != 0.0f), likely(-1) {
    for (int64_t k = 0; k < row.count; ++k) {
      if (row.ignored(k)) continue;
      const float g = up.dlogprobs[k];
      any = any || g != 0.0f;
      const float y = row.y(row.targets[k]);
      if (!row.kept(row.targets[k]))
        G += g == 0.0f ? 0.0f : g * static_cast<float>(share_of_support(y));
      else {
        G += g;
        if (::exp(logp(up.support, y)) >= 0.75) likely = row.targets[k], likely_y = y;
      }
    }
  }

  double logp(const Normaliser& of, float y) const {
    return (static_cast<double>(y) - static_cast<double>(of.base)) * static_cast<double>(row.chain.scale) -
           static_cast<double>(of.log_total);
  }

  // What the support has of the probability under a target outside of it.
  double share_of_support(float y) const {
    if (y == -INFINITY) return 1.0;
    return up.support.empty() ? 0.0 : 1.0 / (1.0 + ::exp(logp(up.support, y)));
  }

  double own(int32_t target) const {
    double sum = 0.0;
    for (int64_t k = 0; k < row.count; ++k)
      if (row.targets[k] == target) sum += static_cast<double>(up.dlogprobs[k]);
    return sum;
  }

  // The gradient at a target, of which `rest` is the probability of all others if that is known.
  float at(int32_t target, float y, const double* rest) const {
    if (y == -INFINITY) return 0.0f;  // masked vocabulary
    const double g = own(target);
    double d;
    if (row.kept(target)) {
      const double q = ::exp(logp(up.support, y));
      d = g * (rest ? *rest : 1.0 - q) - (static_cast<double>(G) - g) * q;
    } else {
      d = g * share_of_support(y);
    }
    if (up.dentropy != 0.0f) {
      const double full = logp(up.full, y);
      d -= static_cast<double>(up.dentropy) * ::exp(full) * (full + static_cast<double>(up.entropy));
    }
    d *= static_cast<double>(row.chain.slope);
    return static_cast<float>(row.chain.softcap > 0.0f ? d * static_cast<double>(first_lane(row.chain.bend(splat(y)))) : d);
  }

  // Writes the entries of a block that are targets, all but the likely one.
  template <class Block>
  void write(const Block* y, int64_t begin, int64_t count, float* out) const {
    for (int64_t k = 0; k < row.count; ++k) {
      const int32_t target = row.targets[k];
      if (row.ignored(k) || target == likely || target < begin || target >= begin + count) continue;
      out[target - begin] = at(target, to_float(y + (target - begin)), nullptr);
    }
  }
};

// Targets of a row whose logits are kept until the row has been overwritten; a row with more goes the general way.
constexpr int64_t kSavedTargets = 64;

// factor · p of all entries, straight to `out`, which may be the logits; returns the sum of the p that are not the likely
// one's. Streaming wants whole vectors of `out`, so the vectors begin `head` entries into the row; the sum keeps one lane per
// residue of the index and is turned back at the end, so that its bits do not depend on where the row lies.
template <bool with_rest, bool streamed, class Element>
inline double plain_gradient(const Element* x, int64_t V, const Normaliser& of, float scale, float factor, Element* out) {
  const VecF base = splat(of.base), log_total = splat(-of.log_total), vscale = splat(scale), vfactor = splat(factor);
  VecF others = {};
  const auto step = [&](VecF logits) __attribute__((always_inline)) {
    const VecF p = exp_of_shifted(fma(logits - base, vscale, log_total));
    if (with_rest) others += p < splat(0.7f) ? p : VecF{};
    return vfactor * p;
  };
  constexpr int64_t kVectorBytes = kLanes * sizeof(Element);
  const int64_t beyond = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) % kVectorBytes);
  const int64_t before = streamed && beyond > 0 ? (kVectorBytes - beyond) / static_cast<int64_t>(sizeof(Element)) : 0;
  const int64_t head = before < V ? before : V;
  if (head > 0) {
    store_part(out, step(load_part(x, head, -INFINITY)), head);
    float lanes[2 * kLanes] = {};
    store(lanes + kLanes, others);
    others = load(lanes + head);
  }
  constexpr int64_t kLine = 64 / sizeof(Element), kAhead = 4096 / sizeof(Element);
  int64_t v = head;
  for (; v + 4 * kLanes <= V; v += 4 * kLanes) {
    for (int64_t next = 0; next < 4 * kLanes; next += kLine) __builtin_prefetch(x + v + next + kAhead);
    for (int64_t u = 0; u < 4; ++u) {
      const VecF d = step(load(x + v + u * kLanes));
      if (streamed)
        stream(out + v + u * kLanes, d);
      else
        store(out + v + u * kLanes, d);
    }
  }
  for (; v + kLanes <= V; v += kLanes) store(out + v, step(load(x + v)));
  if (v < V) store_part(out + v, step(load_part(x + v, V - v, -INFINITY)), V - v);
  if (!with_rest) return 0.0;
  float lanes[2 * kLanes];
  store(lanes, others);
  store(lanes + kLanes, others);
  return static_cast<double>(sum_lanes(load(lanes + (kLanes - head) % kLanes)));
}

// A row without entropy's gradient, support and softcap.
template <class Element>
inline void plain_row(const LogitRow<Element>& row, const TargetGradients<Element>& targets, Element* out, bool streamed) {
  float saved[kSavedTargets];
  for (int64_t k = 0; k < row.count; ++k) saved[k] = row.ignored(k) ? 0.0f : row.y(row.targets[k]);
  const auto write = [&](auto with_rest, auto stream) {
    return plain_gradient<with_rest.value, stream.value>(row.logits, row.V, targets.up.support, row.chain.scale,
                                                         -targets.G * row.chain.slope, out);
  };
  double rest;
  with_constant(targets.likely >= 0,
                [&](auto with_rest) { with_constant(streamed, [&](auto stream) { rest = write(with_rest, stream); }); });
  for (int64_t k = 0; k < row.count; ++k) {
    if (row.ignored(k)) continue;
    const int32_t target = row.targets[k];
    put_float(out + target, targets.at(target, saved[k], target == targets.likely ? &rest : nullptr));
  }
}

// The gradient of a row. `out` may be the row's logits.
template <class Element>
inline void row_gradient(const LogitRow<Element>& row, const RowUpstream& up, Element* out, bool streamed) {
  const TargetGradients<Element> targets(row, up);
  const bool with_entropy = up.dentropy != 0.0f && !up.full.empty();
  if (!targets.any || (up.support.empty() && !row.keep)) {
    memset(out, 0, static_cast<size_t>(row.V) * sizeof(Element));
    return;
  }
  const LogitChain& chain = row.chain;
  if (!with_entropy && !row.keep && chain.softcap == 0.0f && row.count <= kSavedTargets)
    return plain_row(row, targets, out, streamed);
  const Normaliser support = up.support.empty() ? Normaliser{0.0f, INFINITY} : up.support;  // an empty one: all q are 0
  const VecF zero = {}, scale = splat(chain.scale), G = splat(-targets.G), slope = splat(chain.slope);
  const VecF base = splat(support.base), log_total = splat(support.log_total);
  const VecF full_base = splat(up.full.base), full_log_total = splat(up.full.log_total);
  const VecF dentropy = splat(-up.dentropy), entropy = splat(up.entropy);
  VecF others = {};
  for_blocks(row, false, [&](const auto* y, int64_t begin, int64_t count) {
    float d[kSoftmaxBlock];
    for (int64_t i = 0; i < count; i += kLanes) {
      const int64_t here = count - i < kLanes ? count - i : kLanes;
      const VecF x = here == kLanes ? load(y + i) : load_part(y + i, here, -INFINITY);
      const VecF z = fma(x - base, scale, -log_total);
      VecF q = exp_of_shifted(z);
      if (row.keep) q = kept_lanes(row.keep, begin + i, row.V) ? q : zero;
      others += q < splat(0.7f) ? q : zero;
      VecF g = G * q;
      if (with_entropy) {
        const VecF logp = row.keep ? fma(x - full_base, scale, -full_log_total) : z;
        const VecF p = row.keep ? exp_of_shifted(logp) : q;
        g += p == zero ? zero : dentropy * p * (logp + entropy);  // a NaN stays
      }
      g *= slope;
      if (chain.softcap > 0.0f) g *= chain.bend(x);
      store_part(d + i, g, here);
    }
    targets.write(y, begin, count, d);
    store_block(out + begin, d, count, streamed);
  });
  if (targets.likely >= 0) {
    const double rest = static_cast<double>(sum_lanes(others));
    put_float(out + targets.likely, targets.at(targets.likely, targets.likely_y, &rest));
  }
}

}  // namespace

#endif
