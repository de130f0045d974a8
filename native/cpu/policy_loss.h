// The surrogate and the KL term of a vector of targets: what all forms of the loss and the fused path share. A target's bits
// depend on that target alone, whatever lanes lie beside it. Absent targets are replaced by zeros before any arithmetic.

#ifndef STEPCREDIT_CPU_POLICY_LOSS_H
#define STEPCREDIT_CPU_POLICY_LOSS_H

#include <math.h>

#include "loss_sums.h"
#include "simd_loss.h"

namespace {

struct Value {
  VecF value;
  VecF slope;  // derivative by the log-prob
};

// Up to kLanes consecutive targets; those that are absent, and those beyond `count`, take no part.
struct Group {
  int64_t n, count;
  VecF weight;
  VecI present;

  VecF of(const float* values) const {
    const VecF v = load_first(values + n, count);
    return present ? v : VecF{};
  }
};

inline Group group_at(const PolicyLossTargets& args, int64_t n, int64_t last) {
  const VecF weight = load_first(args.weights + n, last - n);
  return {n, last - n, weight, weight != VecF{}};
}

// body(group) for the targets first … last, in order.
template <class Body>
inline void each_group(const PolicyLossTargets& args, int64_t first, int64_t last, const Body& body) {
  int64_t n = first;
  for (; n + kLanes <= last; n += kLanes) body(group_at(args, n, n + kLanes));
  if (n < last) body(group_at(args, n, last));
}

// Targets as a form of the loss sees them; where absent, the log ratio is 0.
struct Target {
  VecF logprob;
  VecF old_logprob;
  VecF log_ratio;
  VecF ratio;
  VecF gain;    // ratio − 1
  VecF excess;  // ratio − 1 − log ratio
  VecI inside;  // no clamp holds the log ratio: the log-prob moves it
};

inline Target at_log_ratio(VecF logprob, VecF old_logprob, VecF x, VecI inside) {
  const Exponential e = exponential(x);
  const VecF most = splat(FLT_MAX);
  return {logprob, old_logprob, x, lesser(most, e.exp), lesser(most, e.expm1), lesser(most, e.excess), inside};
}

// The log ratios of a group, clamped, and where no clamp holds them.
struct LogRatio {
  VecF x;
  VecI inside;
};

inline LogRatio log_ratio(const PolicyLossTargets& args, VecF logprob, VecF old_logprob) {
  const VecF free = logprob - old_logprob;
  const VecI inside = (lanes_abs(free) <= splat(args.log_ratio_clamp)) | (free != free);
  return {inside ? free : with_sign(splat(args.log_ratio_clamp), free), inside};
}

inline LogRatio log_ratio(const PolicyLossTargets& args, const Group& group) {
  return log_ratio(args, group.of(args.logprobs), group.of(args.old_logprobs));
}

// What a form says about its targets, for the metrics: −1 in the lanes that it is true of.
struct Decisions {
  VecI clipped, low, high, dual;
};

// Sums of a run of targets, lane by lane.
struct LaneSums {
  VecI count, clipped, low, high, dual;
  VecD loss, log_ratio, abs_log_ratio, approx_kl, ratio, kl;
  VecF ratio_max;
};

inline void reduce(const LaneSums& lanes, LossSums* sums) {
  sums->of[kMetricLoss] += sum_lanes(lanes.loss);
  sums->of[kMetricCount] += static_cast<double>(sum_lanes(lanes.count));
  sums->of[kMetricClipped] += static_cast<double>(sum_lanes(lanes.clipped));
  sums->of[kMetricClippedLow] += static_cast<double>(sum_lanes(lanes.low));
  sums->of[kMetricClippedHigh] += static_cast<double>(sum_lanes(lanes.high));
  sums->of[kMetricClippedDual] += static_cast<double>(sum_lanes(lanes.dual));
  sums->of[kMetricNegLogRatio] -= sum_lanes(lanes.log_ratio);
  sums->of[kMetricAbsLogRatio] += sum_lanes(lanes.abs_log_ratio);
  sums->of[kMetricApproxKl] += sum_lanes(lanes.approx_kl);
  sums->of[kMetricRatio] += sum_lanes(lanes.ratio);
  sums->of[kMetricKl] += sum_lanes(lanes.kl);
  const double ratio_max = static_cast<double>(max_lanes(lanes.ratio_max));
  if (ratio_max > sums->of[kMetricRatioMax]) sums->of[kMetricRatioMax] = ratio_max;
}

// Counts the present targets and what was decided about them: nothing where A and the log ratio are 0, as in absent lanes.
inline void count_targets(const Target& target, const Decisions& decisions, const Group& group, LaneSums* sums) {
  const VecF ratio = group.present ? target.ratio : VecF{};
  sums->count -= group.present;
  sums->clipped -= decisions.clipped;
  sums->low -= decisions.low;
  sums->high -= decisions.high;
  sums->dual -= decisions.dual;
  add_lanes(&sums->log_ratio, target.log_ratio);
  add_lanes(&sums->abs_log_ratio, lanes_abs(target.log_ratio));
  add_lanes(&sums->approx_kl, target.excess);
  add_lanes(&sums->ratio, ratio);
  sums->ratio_max = greater(ratio, sums->ratio_max);
}

// The KL estimates of d = ref_logprob − logprob, and their derivatives by logprob.
inline Value kl_term(int32_t kind, VecF logprob, VecF ref_logprob, float log_ratio_clamp, float value_clamp) {
  const VecF zero = {}, one = splat(1.0f);
  const VecF free = ref_logprob - logprob;
  const VecI inside = (lanes_abs(free) <= splat(log_ratio_clamp)) | (free != free);
  const VecF d = inside ? free : with_sign(splat(log_ratio_clamp), free);
  Value kl = {zero, zero};
  switch (kind) {
    case kKl1:
    case kKl1Straight:
      kl = {-d, one};
      break;
    case kKl2:
      kl = {splat(0.5f) * d * d, -d};
      break;
    case kKl3:
    case kKl3Straight: {
      const Exponential e = exponential(d);
      kl = {saturated(e.excess), saturated(-e.expm1)};
      break;
    }
    case kKlAbs:
      kl = {lanes_abs(d), d > zero ? -one : d < zero ? one : zero};
      break;
    default:
      return kl;
  }
  const VecI held = lanes_abs(kl.value) > splat(value_clamp);
  kl.slope = inside & ~held ? kl.slope : zero;
  if (kind == kKl1Straight || kind == kKl3Straight) kl.slope = -free;
  kl.value = held ? with_sign(splat(value_clamp), kl.value) : kl.value;
  return kl;
}

// The KL term of a group, times the ratio where that is asked: the part of its slope that goes through the ratio is apart.
struct KlShare {
  VecF value, direct, through_ratio;
};

// 0 where log-prob and reference are, as in absent lanes.
inline KlShare kl_share(const PolicyLossTargets& args, const Target& target, const Group& group, LaneSums* sums) {
  const VecF ref_logprob = group.of(args.ref_logprobs);
  const Value kl = kl_term(args.kl_kind, target.logprob, ref_logprob, args.kl_log_ratio_clamp, args.kl_value_clamp);
  KlShare share = {kl.value, kl.slope, VecF{}};
  if (args.kl_times_ratio) {
    const VecF value = saturated(kl.value * target.ratio);
    share = {value, saturated(kl.slope * target.ratio), target.inside ? value : VecF{}};
  }
  add_lanes(&sums->kl, share.value);
  const VecF coef = splat(args.kl_coef);
  return {saturated(coef * share.value), saturated(coef * share.direct), saturated(coef * share.through_ratio)};
}

inline Value multiplied(const PolicyLossTargets& args, const Group& group, Value loss) {
  if (!args.multipliers) return loss;
  const VecF multiplier = group.of(args.multipliers);
  const VecI any = multiplier != VecF{};
  return {any ? saturated(multiplier * loss.value) : VecF{}, any ? saturated(multiplier * loss.slope) : VecF{}};
}

// Both signs of the advantages with their multiplier, without weight and KL. Counts into the metrics. A form of the loss is
// l(A): form(A, target, decisions) gives the value and the derivative by the log-prob, 0 where A is 0; so where no target of
// the group has both signs, one evaluation serves: ±0 is all it may differ by.
template <class Form>
inline Value surrogate(const PolicyLossTargets& args, const Form& form, const Target& target, const Group& group,
                       LaneSums* sums) {
  VecF positive = {}, negative = {};
  if (args.advantage_columns == 1) {
    positive = group.of(args.advantages);
  } else {
    load_pairs(args.advantages + 2 * group.n, group.count, &positive, &negative);
    positive = group.present ? positive : VecF{};
    negative = group.present ? negative : VecF{};
  }
  Decisions decisions = {};
  Value loss;
  if (any_lane((positive != VecF{}) & (negative != VecF{}))) {
    const Value up = form(positive, target, &decisions), down = form(negative, target, &decisions);
    loss = {saturated(up.value + down.value), saturated(up.slope + down.slope)};
  } else {
    loss = form(positive + negative, target, &decisions);
  }
  count_targets(target, decisions, group, sums);
  return multiplied(args, group, loss);
}

// Adds the KL term, and the whole to the loss; writes ∂loss/∂logprobs of a group.
inline void weigh(const PolicyLossTargets& args, const Target& target, const Group& group, Value loss, LaneSums* sums) {
  if (args.kl_kind != kKlNone) {
    const KlShare kl = kl_share(args, target, group, sums);
    loss = {saturated(loss.value + kl.value), saturated(loss.slope + saturated(kl.direct + kl.through_ratio))};
  }
  add_products(&sums->loss, group.weight, loss.value);
  const VecF slope = saturated(group.weight * loss.slope) + VecF{};  // 0, not −0
  store_first(args.dlogprobs + group.n, group.present ? slope : VecF{}, group.count);
}

inline void write_ratios(const PolicyLossTargets& args, const Target& target, const Group& group) {
  if (args.ratios) store_first(args.ratios + group.n, group.present ? target.ratio : VecF{}, group.count);
}

// A group of a loss with one ratio per target: adds its loss to the sums and writes ∂loss/∂logprobs.
template <class Form>
inline void loss_of_group(const PolicyLossTargets& args, const Form& form, const Group& group, LaneSums* sums) {
  const VecF logprob = group.of(args.logprobs), old_logprob = group.of(args.old_logprobs);
  const LogRatio ratio = log_ratio(args, logprob, old_logprob);
  const Target target = at_log_ratio(logprob, old_logprob, ratio.x, ratio.inside);
  write_ratios(args, target, group);
  weigh(args, target, group, surrogate(args, form, target, group, sums), sums);
}

// A loss with one ratio per target, over all targets.
template <class Form>
inline int32_t loss_of_targets(const PolicyLossTargets& args, const Form& form, ScError* error, const char* no_memory) {
  const int64_t chunks = (args.N + kTargetBlock - 1) / kTargetBlock;
  return with_loss_sums(chunks, args.metrics, error, no_memory, [&](int64_t chunk, LossSums* sums) {
    const int64_t begin = chunk * kTargetBlock;
    const int64_t end = begin + kTargetBlock < args.N ? begin + kTargetBlock : args.N;
    LaneSums lanes = {};
    each_group(args, begin, end, [&](const Group& group) { loss_of_group(args, form, group, &lanes); });
    reduce(lanes, sums);
  });
}

}  // namespace

#endif
