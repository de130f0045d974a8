// The gradient of one row of logits: that of logprobs_backward in ops.h, with the decisions of native/cpu/logit_gradient.h. A
// block of threads has one row, which it may overwrite: a thread writes the vectors that it has read, and the entries of
// targets last.

#ifndef STEPCREDIT_CUDA_LOGIT_GRADIENT_CUH
#define STEPCREDIT_CUDA_LOGIT_GRADIENT_CUH

#include "logit_row.cuh"

namespace gpu {

// What probabilities are taken against: p = exp((y − base) · scale − log_total).
struct Normaliser {
  float base;
  float log_total;

  __device__ bool empty() const { return base == -INFINITY || log_total == -INFINITY; }
};

__device__ inline Normaliser normaliser_of(const RowSums<double>& sums) {
  return {sums.top, sums.top == -INFINITY && sums.rest != sums.rest ? NAN : sums.log_total()};
}

constexpr float kUnknown = -1.0f;

// ∂/∂logprobs of the targets and ∂/∂entropy of the row, with what the probabilities are taken against.
struct RowUpstream {
  Normaliser support;
  Normaliser full;         // only where dentropy is not 0
  const float* dlogprobs;  // one per target
  float dentropy;
  float entropy;
  float others;  // what the support holds beside an entry that has most of its probability; kUnknown: to be summed
};

// What the targets say about all entries of a row.
struct TargetSums {
  double G;        // Σ dlogprobs, those of targets outside the support times the share of the support
  int32_t likely;  // the target that holds most of the probability, −1: none
  int32_t any;     // whether there is a gradient at all
};

struct AddTargets {
  __device__ TargetSums operator()(const TargetSums& a, const TargetSums& b) const {
    return {a.G + b.G, a.likely > b.likely ? a.likely : b.likely, a.any | b.any};
  }
};

template <class Element>
struct TargetGradients {
  const LogitRow<Element>& row;
  const RowUpstream& up;

  __device__ float logp(const Normaliser& of, float y) const { return fmaf(y - of.base, row.chain.scale, -of.log_total); }

  // What the support has of the probability under a target outside of it.
  __device__ float share_of_support(float y) const {
    if (y == -INFINITY) return 1.0f;
    return up.support.empty() ? 0.0f : 1.0f / (1.0f + expf(logp(up.support, y)));
  }

  // Keeps y of every target, which the row may lose.
  template <int kThreads>
  __device__ TargetSums summed(float* kept_y) const {
    TargetSums sums = {0.0, -1, up.dentropy != 0.0f};
    for (int64_t k = threadIdx.x; k < row.count; k += kThreads) {
      if (row.ignored(k)) continue;
      const int32_t target = row.targets[k];
      const float g = up.dlogprobs[k], y = row.y(target);
      kept_y[k] = y;
      if (g != 0.0f) sums.any = 1;
      if (!row.kept(target)) {
        sums.G += g == 0.0f ? 0.0 : static_cast<double>(g * share_of_support(y));
      } else {
        sums.G += static_cast<double>(g);
        if (expf(logp(up.support, y)) >= 0.75f) sums.likely = target;
      }
    }
    return reduce_block<kThreads>(sums, AddTargets{});
  }

  __device__ double own(int32_t target) const {
    double sum = 0.0;
    for (int64_t k = 0; k < row.count; ++k)
      if (row.targets[k] == target) sum += static_cast<double>(up.dlogprobs[k]);
    return sum;
  }

  // The gradient at a target; `others` is what the likely one leaves to the rest of the support.
  __device__ float at(int32_t target, float y, const TargetSums& sums, float others) const {
    if (y == -INFINITY) return 0.0f;  // masked vocabulary
    const double g = own(target);
    double d;
    if (row.kept(target)) {
      const double q = static_cast<double>(expf(logp(up.support, y)));
      d = g * (target == sums.likely ? static_cast<double>(others) : 1.0 - q) - (sums.G - g) * q;
    } else {
      d = g * static_cast<double>(share_of_support(y));
    }
    if (up.dentropy != 0.0f) {
      const double full = static_cast<double>(logp(up.full, y));
      d -= static_cast<double>(up.dentropy) * static_cast<double>(expf(static_cast<float>(full))) *
           (full + static_cast<double>(up.entropy));
    }
    d *= static_cast<double>(row.chain.slope);
    return static_cast<float>(row.chain.softcap > 0.0f ? d * static_cast<double>(LogitChain::bend(y / row.chain.softcap)) : d);
  }
};

// Σ of what a thread has, from the last segment to the first.
template <int kThreads>
struct SumFromEnd {
  double segments = 0.0;
  float begun = 0.0f;

  __device__ void arrive_at(int64_t v) {
    if (!Segment<kThreads>::begins_at(v)) return;
    segments += static_cast<double>(begun);
    begun = 0.0f;
  }
};

// factor · q of the elements begin … end − 1, of a row without entropy's gradient, support and softcap; returns the sum of this
// thread's q that are not the likely one's.
template <int kThreads, bool with_others, class Element>
__device__ inline double write_plain(const LogitRow<Element>& row, int64_t begin, int64_t end, const Normaliser& of,
                                     float factor, Element* out) {
  constexpr int kCount = Wide<Element>::kCount;
  const Pieces pieces = pieces_of(out);
  SumFromEnd<kThreads> others;
  const auto write = [&](int64_t v, const Wide<Element>& vector) {
    float x[kCount];
    widen(vector, x);
    SC_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const float q = exp_of(fmaf(x[i] - of.base, row.chain.scale, -of.log_total));
      if (with_others && q < 0.7f) others.begun += q;
      x[i] = factor * q;
    }
    store_vector(out + v, row.V - v, pieces, narrowed(x, out));
  };
  each_vector<kThreads, 4, Walk::kFromEnd>(row.vectors(), begin, end, write, [&](int64_t from, int64_t) {
    if (with_others) others.arrive_at(from);
  });
  return others.segments;
}

// The same of any row, with its own slope.
template <int kThreads, class Element>
__device__ inline double write_general(const LogitRow<Element>& row, int64_t begin, int64_t end, const RowUpstream& up,
                                       float factor, Element* out) {
  constexpr int kCount = Wide<Element>::kCount;
  const LogitChain& chain = row.chain;
  const Normaliser support = up.support.empty() ? Normaliser{0.0f, INFINITY} : up.support;  // an empty one: all q are 0
  const bool with_entropy = up.dentropy != 0.0f && !up.full.empty(), capped = chain.softcap > 0.0f;
  const Pieces pieces = pieces_of(out);
  SumFromEnd<kThreads> others;
  const auto write = [&](int64_t v, const Wide<Element>& vector) {
    float x[kCount];
    widen(vector, x);
    const unsigned kept = kept_bits(row, v);
    SC_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const float t = capped ? tanhf(chain.inside * x[i]) : 0.0f;
      const float y = v + i >= row.V ? -INFINITY : capped ? chain.softcap * t : x[i];
      const float z = fmaf(y - support.base, chain.scale, -support.log_total);
      const float q = kept >> i & 1 ? exp_of(z) : 0.0f;
      if (q < 0.7f) others.begun += q;
      float g = factor * q;
      if (with_entropy) {
        const float logp = row.keep ? fmaf(y - up.full.base, chain.scale, -up.full.log_total) : z;
        const float p = row.keep ? exp_of(logp) : q;
        if (p != 0.0f) g = fmaf(-up.dentropy * p, logp + up.entropy, g);  // a NaN stays
      }
      x[i] = g * chain.slope * (capped ? LogitChain::bend(t) : 1.0f);
    }
    store_vector(out + v, row.V - v, pieces, narrowed(x, out));
  };
  each_vector<kThreads, 1, Walk::kFromEnd>(row.vectors(), begin, end, write,
                                           [&](int64_t from, int64_t) { others.arrive_at(from); });
  return others.segments;
}

// What the gradient of a row needs besides its logits. `summed`: whether the row's others have to be.
struct GradientPlan {
  RowUpstream up;
  TargetSums sums;
  int32_t clear;  // whether all of it is 0
  int32_t summed;
};

// The same in every thread; keeps y of the targets.
template <int kThreads, class Element>
__device__ inline GradientPlan gradient_plan(const LogitRow<Element>& row, const RowUpstream& up, float* kept_y) {
  const TargetSums sums = TargetGradients<Element>{row, up}.template summed<kThreads>(kept_y);
  return {up, sums, !sums.any || (up.support.empty() && !row.keep), sums.likely >= 0 && up.others == kUnknown};
}

// The elements begin … end − 1 of the gradient, without what targets have of their own; returns what this thread has of the
// others' sum.
template <int kThreads, class Element>
__device__ inline double write_part(const LogitRow<Element>& row, const GradientPlan& plan, int64_t begin, int64_t end,
                                    Element* out) {
  const RowUpstream& up = plan.up;
  const float G = static_cast<float>(-plan.sums.G);
  const bool general = (up.dentropy != 0.0f && !up.full.empty()) || row.keep || row.chain.softcap > 0.0f;
  if (general) return write_general<kThreads>(row, begin, end, up, G, out);
  if (plan.summed) return write_plain<kThreads, true>(row, begin, end, up.support, G * row.chain.slope, out);
  return write_plain<kThreads, false>(row, begin, end, up.support, G * row.chain.slope, out);
}

// The entries of targets, after all others. `mine`: what this thread has of the others' sum.
template <int kThreads, class Element>
__device__ inline void write_targets(const LogitRow<Element>& row, const GradientPlan& plan, double mine, const float* kept_y,
                                     Element* out) {
  const float others = plan.summed ? static_cast<float>(reduce_block<kThreads>(mine, Add{})) : plan.up.others;
  __syncthreads();  // the row has been written
  const TargetGradients<Element> targets = {row, plan.up};
  for (int64_t k = threadIdx.x; k < row.count; k += kThreads)
    if (!row.ignored(k)) from_float(targets.at(row.targets[k], kept_y[k], plan.sums, others), out + row.targets[k]);
}

// The gradient of a row. `out` may be the row's logits; kept_y: one number per target, for this row alone.
template <int kThreads, class Element>
__device__ inline void row_gradient(const LogitRow<Element>& row, const RowUpstream& up, float* kept_y, Element* out) {
  const GradientPlan plan = gradient_plan<kThreads>(row, up, kept_y);
  if (plan.clear) return clear_row<kThreads>(out, row.V);
  const double mine = write_part<kThreads>(row, plan, 0, row.V, out);
  write_targets<kThreads>(row, plan, mine, kept_y, out);
}

}  // namespace gpu

#endif
