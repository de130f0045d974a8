// Rows of logits whose gradient is written while the row after them is summed, so that one thread reads and writes at once. The
// exponentials of the sums are kept, one row per thread, and serve the gradient: each is computed once.

#ifndef STEPCREDIT_CPU_LOGIT_PIPELINE_H
#define STEPCREDIT_CPU_LOGIT_PIPELINE_H

#include "logit_gradient.h"

namespace {

// Whether a row can go this way: its entries are logits times one scale, and all are in the support.
template <class Element>
inline bool pipelined(const LogitRow<Element>& row) {
  return !row.keep && row.chain.softcap == 0.0f && row.count <= kSavedTargets;
}

// e = exp((x − base) · scale) of a row, with the base of each block of kSoftmaxBlock: the maximum up to its end.
struct Exponentials {
  float* of;     // [V], and room for two vectors beyond
  float* bases;  // [⌈V / kSoftmaxBlock⌉]

  static int64_t room(int64_t V) { return (V + kSoftmaxBlock - 1) / kSoftmaxBlock * kSoftmaxBlock + 2 * kLanes; }
  static size_t bytes(int64_t V) { return static_cast<size_t>(room(V) + V / kSoftmaxBlock + 1) * sizeof(float); }

  Exponentials(void* memory, int64_t V) : of(static_cast<float*>(memory)), bases(of + room(V)) {}
};

// A row that has been summed and has a gradient, which is still to be written. `out` may be the row's logits.
template <class Element>
struct PendingRow {
  const LogitRow<Element> row;
  const RowUpstream up;
  const TargetGradients<Element> targets;  // of the row and the upstream here
  const double rest;                       // the probability of all entries but the one at the top
  Element* const out;
  float saved[kSavedTargets];  // logits of the targets, which may be overwritten

  PendingRow(const LogitRow<Element>& of, const RowSums& sums, const RowUpstream& upstream, Element* to)
      : row(of), up(upstream), targets(row, up), rest(sums.rest / (1.0 + sums.rest)), out(to) {
    for (int64_t k = 0; k < row.count; ++k) saved[k] = row.ignored(k) ? 0.0f : row.y(row.targets[k]);
  }
  PendingRow(const PendingRow&) = delete;
  PendingRow& operator=(const PendingRow&) = delete;

  bool has_gradient() const { return targets.any && !up.support.empty(); }

  // When all other entries are there.
  void write_targets() const {
    for (int64_t k = 0; k < row.count; ++k) {
      if (row.ignored(k)) continue;
      const int32_t target = row.targets[k];
      put_float(out + target, targets.at(target, saved[k], target == targets.likely ? &rest : nullptr));
    }
  }
};

// The gradient of whole vectors of a pending row, from their exponentials.
template <bool bonus, class Element>
struct GradientOf {
  const Element* logits;
  const float* e;
  VecF top, scale, log_total, own, dentropy, entropy;

  // For lanes whose exponentials were made against a base that has this share of the row's total, by which `own` is multiplied
  // beforehand where no more is needed of it.
  VecF at(int64_t v, VecF share, int64_t lanes = kLanes) const {
    const VecF p = load(e + v) * share;
    if (!bonus) return p;
    const VecF x = lanes < kLanes ? load_part(logits + v, lanes, -INFINITY) : load(logits + v);
    const VecF d = p * (own + dentropy * (fma(x - top, scale, log_total) + entropy));
    return p == VecF{} ? p : d;
  }
};

template <bool streamed, class Element>
inline void put(Element* to, VecF d) {
  if (streamed)
    stream(to, d);
  else
    store(to, d);
}

// What is done beside the summing of a block: vectors of the pending row are written, and what was read for them makes room.
template <bool bonus, bool streamed, class Element>
struct Beside {
  GradientOf<bonus, Element> gradient;
  Element* out;
  VecF share;
  int64_t from, limit;  // the first vector's entry; how many entries the whole vectors of the block have
  float* kept;

  void before(int64_t i) const {
    if (i < limit) put<streamed>(out + from + i, gradient.at(from + i, share));
  }
  void keep(int64_t i, VecF e) const { store(kept + i, e); }
};

// Goes through the blocks of a pending row, or of none. Its vectors begin `head` entries into the row, where streaming wants
// them; what is in no whole vector of one block is written ahead of the block. The exponentials of the pending row and of the
// one that is summed share their memory: those of a vector are read before others are kept in their place.
template <bool bonus, bool streamed, class Element>
class PendingBlocks {
 public:
  PendingBlocks(const PendingRow<Element>* pending, const Exponentials& e) : pending_(pending), e_(e), gradient_{} {
    if (!pending) return;
    const LogitRow<Element>& row = pending->row;
    const RowUpstream& up = pending->up;
    constexpr int64_t kVectorBytes = kLanes * sizeof(Element);
    const int64_t beyond = static_cast<int64_t>(reinterpret_cast<uintptr_t>(pending->out) % kVectorBytes);
    const int64_t before = streamed && beyond > 0 ? (kVectorBytes - beyond) / static_cast<int64_t>(sizeof(Element)) : 0;
    head_ = before < row.V ? before : row.V;
    own_ = -pending->targets.G * row.chain.slope;
    gradient_ = {row.logits,
                 e.of,
                 splat(up.support.base),
                 splat(row.chain.scale),
                 splat(-up.support.log_total),
                 splat(own_),
                 splat(-up.dentropy * row.chain.slope),
                 splat(up.entropy)};
  }

  Beside<bonus, streamed, Element> open(int64_t begin, int64_t count) {
    if (!pending_) return {gradient_, nullptr, VecF{}, 0, 0, e_.of + begin};
    Element* const out = pending_->out;
    const VecF share = splat(share_of(begin));
    if (begin == 0 && head_ > 0) store_part(out, gradient_.at(0, share, head_), head_);
    const int64_t end = begin + count, from = begin + head_;
    const int64_t limit = end > from ? (end - from) / kLanes * kLanes : 0;
    if (from + limit < end) write_part(from + limit, end, share);
    return {gradient_, out, share, from, limit, e_.of + begin};
  }

  // After a block has been summed against this base.
  void close(int64_t begin, float base) const { e_.bases[begin / kSoftmaxBlock] = base; }

 private:
  // A vector at the end of the row, or of which a part lies in the next block.
  void write_part(int64_t v, int64_t end, VecF share) {
    const int64_t V = pending_->row.V, lanes = V - v < kLanes ? V - v : kLanes;
    if (v + lanes > end) {
      const float after = share_of(end);
      for (int64_t lane = end - v; lane < lanes; ++lane) share[lane] = after;
    }
    const VecF d = gradient_.at(v, share, lanes);
    if (lanes == kLanes)
      put<streamed>(pending_->out + v, d);
    else
      store_part(pending_->out + v, d, lanes);
  }

  // What the exponentials of the block that begins here have to be multiplied by.
  float share_of(int64_t begin) {
    const float base = e_.bases[begin / kSoftmaxBlock];
    if (base != base_) {
      base_ = base;
      const float share = static_cast<float>(::exp(pending_->targets.logp(pending_->up.support, base)));
      share_ = bonus ? share : share * own_;
    }
    return share_;
  }

  const PendingRow<Element>* pending_;
  Exponentials e_;
  GradientOf<bonus, Element> gradient_;
  int64_t head_ = 0;
  float own_ = 0.0f;
  float base_ = NAN, share_ = 0.0f;  // of the last block
};

// The sums of a row, while the gradient of the pending one, if any, is written. A call of its own: one copy serves every loss.
template <bool with_entropy, bool bonus, bool streamed, class Element>
__attribute__((noinline)) RowSums advance(const LogitRow<Element>& row, const PendingRow<Element>* pending,
                                          const Exponentials& e) {
  PendingBlocks<bonus, streamed, Element> blocks(pending, e);
  RowSums sums = kNoSums;
  for (int64_t begin = 0; begin < row.V; begin += kSoftmaxBlock) {
    const int64_t count = begin + kSoftmaxBlock < row.V ? kSoftmaxBlock : row.V - begin;
    const auto beside = blocks.open(begin, count);
    sums = add_block<with_entropy, false>(sums, row.logits + begin, count, row.chain.scale, beside);
    blocks.close(begin, sums.top);
  }
  if (pending) pending->write_targets();
  return sums;
}

// The gradient of a pending row alone.
template <bool bonus, bool streamed, class Element>
__attribute__((noinline)) void finish_row(const PendingRow<Element>& pending, const Exponentials& e) {
  PendingBlocks<bonus, streamed, Element> blocks(&pending, e);
  const int64_t V = pending.row.V;
  for (int64_t begin = 0; begin < V; begin += kSoftmaxBlock) {
    const auto beside = blocks.open(begin, begin + kSoftmaxBlock < V ? kSoftmaxBlock : V - begin);
    for (int64_t i = 0; i < beside.limit; i += kLanes) beside.before(i);
  }
  pending.write_targets();
}

}  // namespace

#endif
