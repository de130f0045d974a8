// The forms of the loss with one ratio per target: l(A) and its derivative by the log-prob, lane by lane. Branches are
// selections by a decision: a branch not taken is not multiplied by 0.

#ifndef STEPCREDIT_CPU_POLICY_LOSS_FORMS_H
#define STEPCREDIT_CPU_POLICY_LOSS_FORMS_H

#include "policy_loss.h"

namespace {

// policy_loss_clip; the sequence forms clip a ratio of their own with it.
struct ClipForm {
  float eps_low, eps_high, delta, dual_clip;

  Value operator()(VecF advantage, const Target& target, Decisions* decisions) const {
    const VecF zero = {}, low = splat(1.0f - eps_low), high = splat(1.0f + eps_high);
    const VecF ratio = target.ratio;
    const Mask up = above(advantage, zero), down = below(advantage, zero);
    const Mask beyond = above(ratio, splat(delta));
    const VecF reached = lesser(splat(delta), ratio);
    decisions->low |= down & below(reached, low);
    decisions->high |= up & above(reached, high);
    const Mask outside = below(ratio, low) | above(ratio, high);
    const VecF held = held_between(low, high, ratio);
    const VecF unclipped = saturated(-advantage * reached), bounded = saturated(-advantage * held);
    const Mask clipped = above(bounded, unclipped);
    decisions->clipped |= clipped;
    // The bounded branch is constant outside the bounds; inside them (delta below 1 + eps_high) it is the ratio itself.
    const VecF value = pick(clipped, bounded, unclipped);
    const VecF ceiling = splat(dual_clip) * -advantage;
    const Mask dual = down & above(value, ceiling);
    decisions->dual |= dual;
    const Mask constant = (clipped & outside) | (~clipped & beyond) | dual | ~target.inside;
    return {pick(dual, ceiling, value), where(~constant, value)};
  }
};

// −weight · A · logprob, the weight held constant.
inline Value weighted_logprob(VecF weight, VecF advantage, VecF logprob) {
  const VecF slope = saturated(-weight * advantage);
  return {where(differs(advantage, VecF{}), saturated(slope * logprob)), slope};
}

struct ReinforceForm {
  Value operator()(VecF advantage, const Target& target, Decisions*) const {
    return weighted_logprob(splat(1.0f), advantage, target.logprob);
  }
};

struct CispoForm {
  float ratio_min, ratio_max;

  Value operator()(VecF advantage, const Target& target, Decisions* decisions) const {
    const Mask low = below(target.ratio, splat(ratio_min)), high = above(target.ratio, splat(ratio_max));
    decisions->clipped |= low | high;
    decisions->low |= low & below(advantage, VecF{});
    decisions->high |= high & above(advantage, VecF{});
    const VecF weight = held_between(splat(ratio_min), splat(ratio_max), target.ratio);
    return weighted_logprob(weight, advantage, target.logprob);
  }
};

struct SapoForm {
  float tau_positive, tau_negative;

  Value operator()(VecF advantage, const Target& target, Decisions*) const {
    const VecF zero = {}, one = splat(1.0f);
    const VecF tau = pick(above(advantage, zero), splat(tau_positive), splat(tau_negative));
    const VecF z = tau * target.gain;
    const VecF e = exp(-lanes_abs(z));  // σ(z) = 1 / (1 + e) or e / (1 + e);  σ (1 − σ) = e / (1 + e)²
    const VecF share = one / (one + e);
    const VecF gate = pick(below(z, zero), e * share, share);
    const VecF slope = saturated(splat(-4.0f) * (e * share * share) * target.ratio * advantage);
    return {saturated(splat(-4.0f) / tau * gate * advantage), where(target.inside, slope)};
  }
};

// Whether q → p goes further than the bound of its direction allows.
struct TotalVariation {
  static Mask drops(const Target& target, Mask up, float eps_low, float eps_high) {
    const VecF moved = exp(target.logprob) - exp(target.old_logprob);
    return (up & above(moved, splat(eps_high))) | (~up & below(moved, splat(-eps_low)));
  }
};

struct BinaryKl {
  static Mask drops(const Target& target, Mask up, float eps_low, float eps_high) {
    const Exponential p = exponential(target.logprob), q = exponential(target.old_logprob);
    const VecF tiny = splat(1e-8f);
    const VecF taken = where(differs(q.exp, VecF{}), q.exp * (target.old_logprob - target.logprob));
    const VecF kl = taken - q.expm1 * log((tiny - q.expm1) / (tiny - p.expm1));
    return (up & above(p.exp, q.exp) & above(kl, splat(eps_high))) | (~up & below(p.exp, q.exp) & above(kl, splat(eps_low)));
  }
};

template <class Divergence>
struct DppoForm {
  float eps_low, eps_high, ratio_cap;

  Value operator()(VecF advantage, const Target& target, Decisions* decisions) const {
    const VecF zero = {};
    const Mask up = above(advantage, zero), down = below(advantage, zero);
    const Mask dropped = (up | down) & Divergence::drops(target, up, eps_low, eps_high);
    decisions->clipped |= dropped;
    decisions->low |= dropped & down;
    decisions->high |= dropped & up;
    const Mask capped = above(target.ratio, splat(ratio_cap));
    decisions->dual |= capped & ~dropped & (up | down);
    return weighted_logprob(lesser(splat(ratio_cap), target.ratio), where(~dropped, advantage), target.logprob);
  }
};

inline ClipForm form_of(const ClipBounds& bounds) { return {bounds.eps_low, bounds.eps_high, bounds.delta, bounds.dual_clip}; }
inline ClipForm form_of(const PolicyLossClipArgs& args) { return form_of(args.bounds); }
inline ReinforceForm form_of(const PolicyLossReinforceArgs&) { return {}; }
inline CispoForm form_of(const PolicyLossCispoArgs& args) { return {args.ratio_min, args.ratio_max}; }
inline SapoForm form_of(const PolicyLossSapoArgs& args) { return {args.tau_positive, args.tau_negative}; }

template <class Divergence>
inline DppoForm<Divergence> dppo_form(const PolicyLossDppoArgs& args) {
  return {args.eps_low, args.eps_high, args.ratio_cap};
}

}  // namespace

#endif
