// The surrogate and the KL term of one target: what all forms of the loss and the fused update share. The decisions are those
// of native/cpu/policy_loss.h: a branch that is not taken is not multiplied by 0, and an absent target is not looked at.

#ifndef STEPCREDIT_CUDA_POLICY_LOSS_CUH
#define STEPCREDIT_CUDA_POLICY_LOSS_CUH

#include <float.h>
#include <math.h>

#include "loss_sums.cuh"

namespace gpu {

struct Value {
  float value;
  float slope;  // derivative by the log-prob
};

// The smaller and the larger of two, `b` where one is NaN.
__device__ inline float lesser(float a, float b) { return a < b ? a : b; }
__device__ inline float greater(float a, float b) { return a > b ? a : b; }

// x between two bounds; NaN stays.
__device__ inline float held_between(float low, float high, float x) { return greater(low, lesser(high, x)); }

// Infinities become the largest float of their sign; NaN stays.
__device__ inline float saturated(float x) { return held_between(-FLT_MAX, FLT_MAX, x); }

// e^x, e^x − 1 and e^x − 1 − x.
struct Exponential {
  float exp, expm1, excess;
};

// All three to 3 ulps or so, from one polynomial: below 0.34 no power of two is split off, so r is x and the differences from 1
// and from 1 + x are the polynomial without its first terms. 0 below −104, +∞ above 88.8, NaN stays NaN.
__device__ inline Exponential exponential(float x) {
  const float round_to_int = 12582912.0f;  // 1.5 · 2²³: adding it leaves the nearest integer in the low bits
  const bool gone = x < -104.0f;
  const float held = lesser(89.0f, gone ? 0.0f : x);
  const float shifted = fmaf(held, 1.44269504088896341f, round_to_int);
  const float n = shifted - round_to_int;
  float r = fmaf(n, -0.693359375f, held);
  r = fmaf(n, 2.12194440054690583e-4f, r);
  float q = 1.9875691500e-4f;
  q = fmaf(q, r, 1.3981999507e-3f);
  q = fmaf(q, r, 8.3334519073e-3f);
  q = fmaf(q, r, 4.1665795894e-2f);
  q = fmaf(q, r, 1.6666665459e-1f);
  q = fmaf(q, r, 5.0000001201e-1f);
  const float tail = q * (r * r);
  // 2^n in two steps, so that subnormal results are right.
  const int exponent = static_cast<int>(__float_as_uint(shifted) - __float_as_uint(round_to_int)), half = exponent >> 1;
  const float low = __uint_as_float(static_cast<unsigned>(half + 127) << 23);
  const float high = __uint_as_float(static_cast<unsigned>(exponent - half + 127) << 23);
  const float e = gone ? 0.0f : fmaf(q, r * r, r + 1.0f) * low * high;
  const bool small = fabsf(x) < 0.34f;
  const float expm1 = small ? tail + r : e - 1.0f;
  return {e, expm1, small ? tail : expm1 - x};
}

// A target of the loss; where absent, all is 0.
struct Inputs {
  int64_t n;
  bool present;
  float weight, logprob, old_logprob, ref_logprob, positive, negative, multiplier;
};

// Targets that count as absent whatever their weight is: those of an id; targets null: none.
struct IgnoredTargets {
  const int32_t* targets;
  int32_t id;

  __device__ bool holds(int64_t n) const { return targets && targets[n] == id; }
};

inline IgnoredTargets none_ignored() { return {nullptr, -1}; }
inline IgnoredTargets ignored_of(const LogitRows& rows) {
  return {rows.ignore_index == -1 ? nullptr : rows.targets, rows.ignore_index};
}

__device__ inline Inputs inputs_at(const PolicyLossTargets& args, const IgnoredTargets& ignored, int64_t n) {
  const float weight = args.weights[n];
  const bool present = weight != 0.0f && !ignored.holds(n);
  const auto of = [&](const float* values, int64_t at) {
    const float value = values[at];
    return present ? value : 0.0f;
  };
  const bool pair = args.advantage_columns == 2;
  return {n,
          present,
          present ? weight : 0.0f,
          of(args.logprobs, n),
          of(args.old_logprobs, n),
          args.kl_kind != kKlNone ? of(args.ref_logprobs, n) : 0.0f,
          of(args.advantages, pair ? 2 * n : n),
          pair ? of(args.advantages, 2 * n + 1) : 0.0f,
          args.multipliers ? of(args.multipliers, n) : 1.0f};
}

// A target as a form of the loss sees it.
struct Target {
  float logprob;
  float old_logprob;
  float log_ratio;
  float ratio;
  float gain;    // ratio − 1
  float excess;  // ratio − 1 − log ratio
  bool inside;   // no clamp holds the log ratio: the log-prob moves it
};

__device__ inline Target at_log_ratio(const Inputs& inputs, float x, bool inside) {
  const Exponential e = exponential(x);
  return {inputs.logprob,           inputs.old_logprob,        x,     lesser(FLT_MAX, e.exp),
          lesser(FLT_MAX, e.expm1), lesser(FLT_MAX, e.excess), inside};
}

// A log ratio, clamped, and whether no clamp holds it.
struct LogRatio {
  float x;
  bool inside;
};

__device__ inline LogRatio log_ratio(const PolicyLossTargets& args, const Inputs& inputs) {
  const float free = inputs.logprob - inputs.old_logprob;
  const bool inside = fabsf(free) <= args.log_ratio_clamp || free != free;
  return {inside ? free : copysignf(args.log_ratio_clamp, free), inside};
}

// What a form says about its target, for the metrics.
struct Decisions {
  bool clipped, low, high, dual;
};

// Counts a present target and what was decided about it.
__device__ inline void count_target(const Target& target, const Decisions& decisions, LossSums* sums) {
  sums->of[kMetricCount] += 1.0;
  sums->of[kMetricClipped] += decisions.clipped ? 1.0 : 0.0;
  sums->of[kMetricClippedLow] += decisions.low ? 1.0 : 0.0;
  sums->of[kMetricClippedHigh] += decisions.high ? 1.0 : 0.0;
  sums->of[kMetricClippedDual] += decisions.dual ? 1.0 : 0.0;
  sums->of[kMetricNegLogRatio] -= static_cast<double>(target.log_ratio);
  sums->of[kMetricAbsLogRatio] += static_cast<double>(fabsf(target.log_ratio));
  sums->of[kMetricApproxKl] += static_cast<double>(target.excess);
  sums->of[kMetricRatio] += static_cast<double>(target.ratio);
  const double ratio = static_cast<double>(target.ratio);
  if (ratio > sums->of[kMetricRatioMax]) sums->of[kMetricRatioMax] = ratio;
}

// The KL estimates of d = ref_logprob − logprob, and their derivatives by logprob.
__device__ inline Value kl_term(int32_t kind, float logprob, float ref_logprob, float log_ratio_clamp, float value_clamp) {
  const float free = ref_logprob - logprob;
  const bool inside = fabsf(free) <= log_ratio_clamp || free != free;
  const float d = inside ? free : copysignf(log_ratio_clamp, free);
  Value kl = {0.0f, 0.0f};
  switch (kind) {
    case kKl1:
    case kKl1Straight:
      kl = {-d, 1.0f};
      break;
    case kKl2:
      kl = {0.5f * d * d, -d};
      break;
    case kKl3:
    case kKl3Straight: {
      const Exponential e = exponential(d);
      kl = {saturated(e.excess), saturated(-e.expm1)};
      break;
    }
    case kKlAbs:
      kl = {fabsf(d), d > 0.0f ? -1.0f : d < 0.0f ? 1.0f : 0.0f};
      break;
    default:
      return kl;
  }
  const bool held = fabsf(kl.value) > value_clamp;
  if (!inside || held) kl.slope = 0.0f;
  if (kind == kKl1Straight || kind == kKl3Straight) kl.slope = -free;
  if (held) kl.value = copysignf(value_clamp, kl.value);
  return kl;
}

// The KL term of a target, times the ratio where that is asked: the part of its slope that goes through the ratio is apart.
struct KlShare {
  float value, direct, through_ratio;
};

__device__ inline KlShare kl_share(const PolicyLossTargets& args, const Target& target, float ref_logprob, LossSums* sums) {
  const Value kl = kl_term(args.kl_kind, target.logprob, ref_logprob, args.kl_log_ratio_clamp, args.kl_value_clamp);
  KlShare share = {kl.value, kl.slope, 0.0f};
  if (args.kl_times_ratio) {
    const float value = saturated(kl.value * target.ratio);
    share = {value, saturated(kl.slope * target.ratio), target.inside ? value : 0.0f};
  }
  sums->of[kMetricKl] += static_cast<double>(share.value);
  const float coef = args.kl_coef;
  return {saturated(coef * share.value), saturated(coef * share.direct), saturated(coef * share.through_ratio)};
}

__device__ inline Value multiplied(float multiplier, const Value& loss) {
  if (multiplier == 0.0f) return {0.0f, 0.0f};
  return {saturated(multiplier * loss.value), saturated(multiplier * loss.slope)};
}

// Both signs of the advantages with their multiplier, without weight and KL. Counts into the metrics. A form of the loss is
// l(A): form(A, target, decisions) gives the value and the derivative by the log-prob, 0 where A is 0; so where a target does
// not have both signs, one evaluation serves.
template <class Form>
__device__ inline Value surrogate(const Form& form, const Target& target, const Inputs& inputs, LossSums* sums) {
  Decisions decisions = {};
  Value loss = {0.0f, 0.0f};
  const bool both = inputs.positive != 0.0f && inputs.negative != 0.0f;
  for (int side = 0; side < (both ? 2 : 1); ++side) {
    const float advantage = !both ? inputs.positive + inputs.negative : side == 0 ? inputs.positive : inputs.negative;
    const Value of_side = form(advantage, target, &decisions);
    loss = side == 0 ? of_side : Value{saturated(loss.value + of_side.value), saturated(loss.slope + of_side.slope)};
  }
  count_target(target, decisions, sums);
  return multiplied(inputs.multiplier, loss);
}

// weight · slope, saturated; 0, not −0.
__device__ inline float weighted_slope(float weight, float slope) { return saturated(weight * slope) + 0.0f; }

__device__ inline void add_loss(float weight, float value, LossSums* sums) {
  sums->of[kMetricLoss] += static_cast<double>(weight) * static_cast<double>(value);
}

// Adds the KL term, and the whole to the loss; returns ∂loss/∂logprobs of the target.
__device__ inline float weigh(const PolicyLossTargets& args, const Target& target, const Inputs& inputs, Value loss,
                              LossSums* sums) {
  if (args.kl_kind != kKlNone) {
    const KlShare kl = kl_share(args, target, inputs.ref_logprob, sums);
    loss = {saturated(loss.value + kl.value), saturated(loss.slope + saturated(kl.direct + kl.through_ratio))};
  }
  add_loss(inputs.weight, loss.value, sums);
  return weighted_slope(inputs.weight, loss.slope);
}

__device__ inline void write_ratio(const PolicyLossTargets& args, int64_t n, float ratio) {
  if (args.ratios) args.ratios[n] = ratio;
}

// An absent target has neither gradient nor ratio.
__device__ inline void write_absent(const PolicyLossTargets& args, int64_t n) {
  args.dlogprobs[n] = 0.0f;
  write_ratio(args, n, 0.0f);
}

// A target of a loss with one ratio per target: adds its loss to the sums, and writes its ratio and ∂loss/∂logprobs.
template <class Form>
__device__ inline void loss_of_target(const PolicyLossTargets& args, const Form& form, const Inputs& inputs, LossSums* sums) {
  if (!inputs.present) return write_absent(args, inputs.n);
  const LogRatio ratio = log_ratio(args, inputs);
  const Target target = at_log_ratio(inputs, ratio.x, ratio.inside);
  write_ratio(args, inputs.n, target.ratio);
  args.dlogprobs[inputs.n] = weigh(args, target, inputs, surrogate(form, target, inputs, sums), sums);
}

}  // namespace gpu

#endif
