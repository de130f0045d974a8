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
  Mask present;

  VecF of(const float* values) const { return where(present, load_first(values + n, count)); }
};

inline Group group_at(const PolicyLossTargets& args, int64_t n, int64_t last) {
  const VecF weight = load_first(args.weights + n, last - n);
  return {n, last - n, weight, differs(weight, VecF{})};
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
  Mask inside;  // no clamp holds the log ratio: the log-prob moves it
};

inline Target at_log_ratio(VecF logprob, VecF old_logprob, VecF x, Mask inside) {
  const Exponential e = exponential(x);
  const VecF most = splat(FLT_MAX);
  return {logprob, old_logprob, x, lesser(most, e.exp), lesser(most, e.expm1), lesser(most, e.excess), inside};
}

// The log ratios of a group, clamped, and where no clamp holds them.
struct LogRatio {
  VecF x;
  Mask inside;
};

// `free` held to ± clamp; a NaN is inside.
inline LogRatio clamped(VecF free, float clamp) {
  const Mask inside = at_most(lanes_abs(free), splat(clamp)) | differs(free, free);
  return {pick(inside, free, with_sign(splat(clamp), free)), inside};
}

inline LogRatio log_ratio(const PolicyLossTargets& args, VecF logprob, VecF old_logprob) {
  return clamped(logprob - old_logprob, args.log_ratio_clamp);
}

inline LogRatio log_ratio(const PolicyLossTargets& args, const Group& group) {
  return log_ratio(args, group.of(args.logprobs), group.of(args.old_logprobs));
}

// What a form says about its targets, for the metrics.
struct Decisions {
  Mask clipped, low, high, dual;
};

// Sums of a run of targets, lane by lane.
struct LaneSums {
  LaneCount count, clipped, low, high, dual;
  VecD loss;
  HeldSum log_ratio, abs_log_ratio, approx_kl, ratio, kl;
  VecF ratio_max;
  int32_t held;  // groups since the held sums were settled

  void settle() {
    log_ratio.settle(), abs_log_ratio.settle(), approx_kl.settle(), ratio.settle(), kl.settle();
    held = 0;
  }
};

inline void reduce(LaneSums lanes, LossSums* sums) {
  lanes.settle();
  sums->of[kMetricLoss] += sum_lanes(lanes.loss);
  sums->of[kMetricCount] += static_cast<double>(lanes.count.sum());
  sums->of[kMetricClipped] += static_cast<double>(lanes.clipped.sum());
  sums->of[kMetricClippedLow] += static_cast<double>(lanes.low.sum());
  sums->of[kMetricClippedHigh] += static_cast<double>(lanes.high.sum());
  sums->of[kMetricClippedDual] += static_cast<double>(lanes.dual.sum());
  sums->of[kMetricNegLogRatio] -= lanes.log_ratio.sum();
  sums->of[kMetricAbsLogRatio] += lanes.abs_log_ratio.sum();
  sums->of[kMetricApproxKl] += lanes.approx_kl.sum();
  sums->of[kMetricRatio] += lanes.ratio.sum();
  sums->of[kMetricKl] += lanes.kl.sum();
  const double ratio_max = static_cast<double>(max_lanes(lanes.ratio_max));
  if (ratio_max > sums->of[kMetricRatioMax]) sums->of[kMetricRatioMax] = ratio_max;
}

// Counts the present targets and what was decided about them: nothing where A and the log ratio are 0, as in absent lanes.
inline void count_targets(const Target& target, const Decisions& decisions, const Group& group, LaneSums* sums) {
  const VecF ratio = where(group.present, target.ratio);
  sums->count.add(group.present);
  sums->clipped.add(decisions.clipped);
  sums->low.add(decisions.low);
  sums->high.add(decisions.high);
  sums->dual.add(decisions.dual);
  if (sums->held++ == kHeldTogether) sums->settle(), sums->held = 1;
  sums->log_ratio.add(target.log_ratio);
  sums->abs_log_ratio.add(lanes_abs(target.log_ratio));
  sums->approx_kl.add(target.excess);
  sums->ratio.add(ratio);
  sums->ratio_max = greater(ratio, sums->ratio_max);
}

// The KL estimates of d = ref_logprob − logprob, and their derivatives by logprob.
inline Value kl_term(int32_t kind, VecF logprob, VecF ref_logprob, float log_ratio_clamp, float value_clamp) {
  const VecF zero = {}, one = splat(1.0f);
  const VecF free = ref_logprob - logprob;
  const LogRatio ratio = clamped(free, log_ratio_clamp);
  const VecF d = ratio.x;
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
      kl = {lanes_abs(d), pick(above(d, zero), -one, where(below(d, zero), one))};
      break;
    default:
      return kl;
  }
  const Mask held = above(lanes_abs(kl.value), splat(value_clamp));
  kl.slope = where(ratio.inside & ~held, kl.slope);
  if (kind == kKl1Straight || kind == kKl3Straight) kl.slope = -free;
  kl.value = pick(held, with_sign(splat(value_clamp), kl.value), kl.value);
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
    share = {value, saturated(kl.slope * target.ratio), where(target.inside, value)};
  }
  sums->kl.add(share.value);
  const VecF coef = splat(args.kl_coef);
  return {saturated(coef * share.value), saturated(coef * share.direct), saturated(coef * share.through_ratio)};
}

inline Value multiplied(const PolicyLossTargets& args, const Group& group, Value loss) {
  if (!args.multipliers) return loss;
  const VecF multiplier = group.of(args.multipliers);
  const Mask any = differs(multiplier, VecF{});
  return {where(any, saturated(multiplier * loss.value)), where(any, saturated(multiplier * loss.slope))};
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
    positive = where(group.present, positive);
    negative = where(group.present, negative);
  }
  Decisions decisions = {};
  Value loss;
  if (any_lane(differs(positive, VecF{}) & differs(negative, VecF{}))) {
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
  store_first(args.dlogprobs + group.n, where(group.present, slope), group.count);
}

inline void write_ratios(const PolicyLossTargets& args, const Target& target, const Group& group) {
  if (args.ratios) store_first(args.ratios + group.n, where(group.present, target.ratio), group.count);
}

inline Target target_of(const PolicyLossTargets& args, const Group& group) {
  const VecF logprob = group.of(args.logprobs), old_logprob = group.of(args.old_logprobs);
  const LogRatio ratio = log_ratio(args, logprob, old_logprob);
  return at_log_ratio(logprob, old_logprob, ratio.x, ratio.inside);
}

// Adds the loss of targets to the sums and writes ∂loss/∂logprobs.
template <class Form>
inline void loss_of_target(const PolicyLossTargets& args, const Form& form, const Target& target, const Group& group,
                           LaneSums* sums) {
  write_ratios(args, target, group);
  weigh(args, target, group, surrogate(args, form, target, group, sums), sums);
}

// Groups side by side: the ratio of a group is a chain of some forty operations that wait for each other, and a processor looks
// ahead by little more than one of them.
constexpr int64_t kGroupsTogether = 4;

// The targets first … last of a loss with one ratio per target.
template <class Form>
inline void loss_of_span(const PolicyLossTargets& args, const Form& form, int64_t first, int64_t last, LaneSums* sums) {
  constexpr int64_t kSpan = kGroupsTogether * kLanes;
  for (; first + kSpan <= last; first += kSpan) {
    Group groups[kGroupsTogether];
    Target targets[kGroupsTogether];
    for (int64_t i = 0; i < kGroupsTogether; ++i) {
      const int64_t n = first + i * kLanes;
      groups[i] = group_at(args, n, n + kLanes);
      targets[i] = target_of(args, groups[i]);
    }
    for (int64_t i = 0; i < kGroupsTogether; ++i) loss_of_target(args, form, targets[i], groups[i], sums);
  }
  each_group(args, first, last, [&](const Group& group) { loss_of_target(args, form, target_of(args, group), group, sums); });
}

// A loss with one ratio per target, over all targets.
template <class Form>
inline int32_t loss_of_targets(const PolicyLossTargets& args, const Form& form, ScError* error, const char* no_memory) {
  const int64_t chunks = (args.N + kTargetBlock - 1) / kTargetBlock;
  return with_loss_sums(chunks, args.metrics, error, no_memory, [&](int64_t chunk, LossSums* sums) {
    const int64_t begin = chunk * kTargetBlock;
    const int64_t end = begin + kTargetBlock < args.N ? begin + kTargetBlock : args.N;
    LaneSums lanes = {};
    loss_of_span(args, form, begin, end, &lanes);
    reduce(lanes, sums);
  });
}

}  // namespace

#endif
