// The clipped surrogate and the KL term at one target: plain arithmetic, shared by the composed and the fused path.

#ifndef STEPCREDIT_CPU_POLICY_LOSS_H
#define STEPCREDIT_CPU_POLICY_LOSS_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "../ops.h"

namespace {

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

inline float at_most_max(float x) { return x > FLT_MAX ? FLT_MAX : x; }

struct Value {
  float value;
  float slope;  // derivative by the log-prob
};

// The KL estimate of d = ref_logprob − logprob, and its derivative by logprob.
inline Value kl_term(int32_t kind, float logprob, float ref_logprob, float log_ratio_clamp, float value_clamp) {
  const float free = ref_logprob - logprob;
  const bool inside = fabsf(free) <= log_ratio_clamp;
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
    case kKl3Straight:
      kl = {expm1f(d) - d, -expm1f(d)};
      break;
    case kKlAbs:
      kl = {fabsf(d), d > 0.0f ? -1.0f : d < 0.0f ? 1.0f : 0.0f};
      break;
    default:
      return kl;
  }
  if (!inside) kl.slope = 0.0f;
  if (fabsf(kl.value) > value_clamp) kl = {copysignf(value_clamp, kl.value), 0.0f};
  if (kind == kKl1Straight || kind == kKl3Straight) kl.slope = -free;
  return kl;
}

// l(A) of policy_loss_clip for one sign of the advantage, and its derivative by the log ratio.
inline Value clip_term(const PolicyLossArgs& args, float advantage, float ratio, bool* clipped, bool* dual) {
  if (advantage == 0.0f) return {0.0f, 0.0f};
  const bool beyond = ratio > args.delta;
  const float reached = beyond ? args.delta : ratio;
  const float low = 1.0f - args.eps_low, high = 1.0f + args.eps_high;
  const float held = ratio < low ? low : ratio > high ? high : ratio;
  const float unclipped = at_most_max(-advantage * reached);
  const float bounded = -advantage * held;
  Value loss;
  if (bounded > unclipped) {
    // Constant outside the bounds; inside them (delta below 1 + eps_high) the same function as without delta.
    loss = {bounded, ratio < low || ratio > high ? 0.0f : bounded};
    *clipped = true;
  } else {
    loss = {unclipped, beyond ? 0.0f : unclipped};
  }
  if (advantage < 0.0f && loss.value > -args.dual_clip * advantage) {
    loss = {-args.dual_clip * advantage, 0.0f};
    *dual = true;
  }
  return loss;
}

// Both signs of a target's advantage, without weight: value and derivative by the log ratio. Counts into the metrics.
inline Value surrogate(const PolicyLossArgs& args, const float* advantage, float log_ratio, float ratio, LossSums* sums) {
  bool clipped = false, dual = false;
  const Value positive = clip_term(args, advantage[0], ratio, &clipped, &dual);
  const Value negative = clip_term(args, advantage[1], ratio, &clipped, &dual);
  const bool gains = advantage[0] > 0.0f || advantage[1] > 0.0f;
  const bool loses = advantage[0] < 0.0f || advantage[1] < 0.0f;
  sums->of[kMetricCount] += 1.0;
  sums->of[kMetricClipped] += clipped;
  const float reached = ratio > args.delta ? args.delta : ratio;
  sums->of[kMetricClippedLow] += loses && reached < 1.0f - args.eps_low;
  sums->of[kMetricClippedHigh] += gains && reached > 1.0f + args.eps_high;
  sums->of[kMetricClippedDual] += dual;
  sums->of[kMetricNegLogRatio] -= static_cast<double>(log_ratio);
  sums->of[kMetricAbsLogRatio] += static_cast<double>(fabsf(log_ratio));
  sums->of[kMetricApproxKl] += static_cast<double>(at_most_max(expm1f(log_ratio)) - log_ratio);
  sums->of[kMetricRatio] += static_cast<double>(ratio);
  if (static_cast<double>(ratio) > sums->of[kMetricRatioMax]) sums->of[kMetricRatioMax] = static_cast<double>(ratio);
  return {positive.value + negative.value, positive.slope + negative.slope};
}

inline float clamped_log_ratio(const PolicyLossArgs& args, float logprob, int64_t n, bool* inside) {
  const float x = logprob - args.old_logprobs[n];
  *inside = fabsf(x) <= args.log_ratio_clamp || x != x;
  return *inside ? x : copysignf(args.log_ratio_clamp, x);
}

// Target n of policy_loss_clip: adds its loss to the sums and returns ∂loss/∂logprob.
inline float clip_loss_target(const PolicyLossArgs& args, float logprob, int64_t n, LossSums* sums) {
  const float weight = args.weights[n];
  if (weight == 0.0f) {
    if (args.ratios) args.ratios[n] = 0.0f;
    return 0.0f;
  }
  bool inside;
  const float x = clamped_log_ratio(args, logprob, n, &inside);
  const float ratio = at_most_max(expf(x));
  if (args.ratios) args.ratios[n] = ratio;
  Value loss = surrogate(args, args.advantages + 2 * n, x, ratio, sums);
  if (!inside) loss.slope = 0.0f;
  if (args.multipliers) {
    const float multiplier = args.multipliers[n];
    loss = multiplier == 0.0f ? Value{0.0f, 0.0f} : Value{multiplier * loss.value, multiplier * loss.slope};
  }
  if (args.kl_kind != kKlNone) {
    Value kl = kl_term(args.kl_kind, logprob, args.ref_logprobs[n], args.kl_log_ratio_clamp, args.kl_value_clamp);
    if (args.kl_times_ratio) kl = {kl.value * ratio, ratio * (kl.slope + (inside ? kl.value : 0.0f))};
    sums->of[kMetricKl] += static_cast<double>(kl.value);
    loss.value += args.kl_coef * kl.value;
    loss.slope += args.kl_coef * kl.slope;
  }
  sums->of[kMetricLoss] += static_cast<double>(weight) * static_cast<double>(loss.value);
  return weight * loss.slope;
}

}  // namespace

#endif
