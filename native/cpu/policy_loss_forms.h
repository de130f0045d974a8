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
    const VecI up = advantage > zero, down = advantage < zero;
    const VecI beyond = ratio > splat(delta);
    const VecF reached = lesser(splat(delta), ratio);
    decisions->low |= down & (reached < low);
    decisions->high |= up & (reached > high);
    const VecI outside = (ratio < low) | (ratio > high);
    const VecF held = held_between(low, high, ratio);
    const VecF unclipped = saturated(-advantage * reached), bounded = saturated(-advantage * held);
    const VecI clipped = bounded > unclipped;
    decisions->clipped |= clipped;
    // The bounded branch is constant outside the bounds; inside them (delta below 1 + eps_high) it is the ratio itself.
    const VecF value = clipped ? bounded : unclipped;
    const VecF ceiling = splat(dual_clip) * -advantage;
    const VecI dual = down & (value > ceiling);
    decisions->dual |= dual;
    const VecI constant = (clipped ? outside : beyond) | dual | ~target.inside;
    return {dual ? ceiling : value, constant ? zero : value};
  }
};

// −weight · A · logprob, the weight held constant.
inline Value weighted_logprob(VecF weight, VecF advantage, VecF logprob) {
  const VecF slope = saturated(-weight * advantage);
  return {advantage == VecF{} ? VecF{} : saturated(slope * logprob), slope};
}

struct ReinforceForm {
  Value operator()(VecF advantage, const Target& target, Decisions*) const {
    return weighted_logprob(splat(1.0f), advantage, target.logprob);
  }
};

struct CispoForm {
  float ratio_min, ratio_max;

  Value operator()(VecF advantage, const Target& target, Decisions* decisions) const {
    const VecI low = target.ratio<splat(ratio_min), high = target.ratio> splat(ratio_max);
    decisions->clipped |= low | high;
    decisions->low |= low & (advantage < VecF{});
    decisions->high |= high & (advantage > VecF{});
    const VecF weight = held_between(splat(ratio_min), splat(ratio_max), target.ratio);
    return weighted_logprob(weight, advantage, target.logprob);
  }
};

struct SapoForm {
  float tau_positive, tau_negative;

  Value operator()(VecF advantage, const Target& target, Decisions*) const {
    const VecF zero = {}, one = splat(1.0f);
    const VecF tau = advantage > zero ? splat(tau_positive) : splat(tau_negative);
    const VecF z = tau * target.gain;
    const VecF e = exp(-lanes_abs(z));  // σ(z) = 1 / (1 + e) or e / (1 + e);  σ (1 − σ) = e / (1 + e)²
    const VecF share = one / (one + e);
    const VecF gate = z < zero ? e * share : share;
    const VecF slope = saturated(splat(-4.0f) * (e * share * share) * target.ratio * advantage);
    return {saturated(splat(-4.0f) / tau * gate * advantage), target.inside ? slope : zero};
  }
};

// Whether q → p goes further than the bound of its direction allows.
struct TotalVariation {
  static VecI drops(const Target& target, VecI up, float eps_low, float eps_high) {
    const VecF moved = exp(target.logprob) - exp(target.old_logprob);
    return up ? moved > splat(eps_high) : moved < splat(-eps_low);
  }
};

struct BinaryKl {
  static VecI drops(const Target& target, VecI up, float eps_low, float eps_high) {
    const Exponential p = exponential(target.logprob), q = exponential(target.old_logprob);
    const VecF tiny = splat(1e-8f);
    const VecF taken = q.exp == VecF{} ? VecF{} : q.exp * (target.old_logprob - target.logprob);
    const VecF kl = taken - q.expm1 * log((tiny - q.expm1) / (tiny - p.expm1));
    return up ? (p.exp > q.exp) & (kl > splat(eps_high)) : (p.exp < q.exp) & (kl > splat(eps_low));
  }
};

template <class Divergence>
struct DppoForm {
  float eps_low, eps_high, ratio_cap;

  Value operator()(VecF advantage, const Target& target, Decisions* decisions) const {
    const VecF zero = {};
    const VecI up = advantage > zero, down = advantage < zero;
    const VecI dropped = (up | down) & Divergence::drops(target, up, eps_low, eps_high);
    decisions->clipped |= dropped;
    decisions->low |= dropped & down;
    decisions->high |= dropped & up;
    const VecI capped = target.ratio > splat(ratio_cap);
    decisions->dual |= capped & ~dropped & (up | down);
    return weighted_logprob(lesser(splat(ratio_cap), target.ratio), dropped ? zero : advantage, target.logprob);
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
