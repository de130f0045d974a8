// The forms of the loss with one ratio per target: l(A) and its derivative by the log-prob.

#ifndef STEPCREDIT_CUDA_POLICY_LOSS_FORMS_CUH
#define STEPCREDIT_CUDA_POLICY_LOSS_FORMS_CUH

#include "policy_loss.cuh"

namespace gpu {

// policy_loss_clip; the sequence forms clip a ratio of their own with it.
struct ClipForm {
  float eps_low, eps_high, delta, dual_clip;

  __device__ Value operator()(float advantage, const Target& target, Decisions* decisions) const {
    const float low = 1.0f - eps_low, high = 1.0f + eps_high, ratio = target.ratio;
    const bool up = advantage > 0.0f, down = advantage<0.0f, beyond = ratio> delta;
    const float reached = lesser(delta, ratio);
    decisions->low |= down && reached < low;
    decisions->high |= up && reached > high;
    const bool outside = ratio < low || ratio > high;
    const float unclipped = saturated(-advantage * reached);
    const float bounded = saturated(-advantage * held_between(low, high, ratio));
    const bool clipped = bounded > unclipped;
    decisions->clipped |= clipped;
    // The bounded branch is constant outside the bounds; inside them (delta below 1 + eps_high) it is the ratio itself.
    const float value = clipped ? bounded : unclipped;
    const float ceiling = dual_clip * -advantage;
    const bool dual = down && value > ceiling;
    decisions->dual |= dual;
    const bool constant = (clipped ? outside : beyond) || dual || !target.inside;
    return {dual ? ceiling : value, constant ? 0.0f : value};
  }
};

// −weight · A · logprob, the weight held constant.
__device__ inline Value weighted_logprob(float weight, float advantage, float logprob) {
  const float slope = saturated(-weight * advantage);
  return {advantage == 0.0f ? 0.0f : saturated(slope * logprob), slope};
}

struct ReinforceForm {
  __device__ Value operator()(float advantage, const Target& target, Decisions*) const {
    return weighted_logprob(1.0f, advantage, target.logprob);
  }
};

struct CispoForm {
  float ratio_min, ratio_max;

  __device__ Value operator()(float advantage, const Target& target, Decisions* decisions) const {
    const bool low = target.ratio<ratio_min, high = target.ratio> ratio_max;
    decisions->clipped |= low || high;
    decisions->low |= low && advantage < 0.0f;
    decisions->high |= high && advantage > 0.0f;
    return weighted_logprob(held_between(ratio_min, ratio_max, target.ratio), advantage, target.logprob);
  }
};

struct SapoForm {
  float tau_positive, tau_negative;

  __device__ Value operator()(float advantage, const Target& target, Decisions*) const {
    const float tau = advantage > 0.0f ? tau_positive : tau_negative;
    const float z = tau * target.gain;
    const float e = expf(-fabsf(z));  // σ(z) = 1 / (1 + e) or e / (1 + e);  σ (1 − σ) = e / (1 + e)²
    const float share = 1.0f / (1.0f + e);
    const float gate = z < 0.0f ? e * share : share;
    const float slope = saturated(-4.0f * (e * share * share) * target.ratio * advantage);
    return {saturated(-4.0f / tau * gate * advantage), target.inside ? slope : 0.0f};
  }
};

// Whether q → p goes further than the bound of its direction allows.
struct TotalVariation {
  __device__ static bool drops(const Target& target, bool up, float eps_low, float eps_high) {
    const float moved = expf(target.logprob) - expf(target.old_logprob);
    return up ? moved > eps_high : moved < -eps_low;
  }
};

struct BinaryKl {
  __device__ static bool drops(const Target& target, bool up, float eps_low, float eps_high) {
    const Exponential p = exponential(target.logprob), q = exponential(target.old_logprob);
    const float tiny = 1e-8f;
    const float taken = q.exp == 0.0f ? 0.0f : q.exp * (target.old_logprob - target.logprob);
    const float kl = taken - q.expm1 * logf((tiny - q.expm1) / (tiny - p.expm1));
    return up ? p.exp > q.exp && kl > eps_high : p.exp < q.exp && kl > eps_low;
  }
};

template <class Divergence>
struct DppoForm {
  float eps_low, eps_high, ratio_cap;

  __device__ Value operator()(float advantage, const Target& target, Decisions* decisions) const {
    const bool up = advantage > 0.0f, down = advantage < 0.0f;
    const bool dropped = (up || down) && Divergence::drops(target, up, eps_low, eps_high);
    decisions->clipped |= dropped;
    decisions->low |= dropped && down;
    decisions->high |= dropped && up;
    decisions->dual |= target.ratio > ratio_cap && !dropped && (up || down);
    return weighted_logprob(lesser(ratio_cap, target.ratio), dropped ? 0.0f : advantage, target.logprob);
  }
};

inline ClipForm form_of(const ClipBounds& bounds) { return {bounds.eps_low, bounds.eps_high, bounds.delta, bounds.dual_clip}; }

// One of the forms, chosen where a kernel runs: the fused update evaluates it once per target, beside thousands of logits, and
// one copy of its passes serves all forms.
struct TokenForm {
  enum Kind { kClip, kCispo, kSapo, kReinforce, kDppoTv, kDppoKl } kind;
  union {
    ClipForm clip;
    CispoForm cispo;
    SapoForm sapo;
    ReinforceForm reinforce;
    DppoForm<TotalVariation> dppo_tv;
    DppoForm<BinaryKl> dppo_kl;
  };

  __device__ Value operator()(float advantage, const Target& target, Decisions* decisions) const {
    switch (kind) {
      case kClip:
        return clip(advantage, target, decisions);
      case kCispo:
        return cispo(advantage, target, decisions);
      case kSapo:
        return sapo(advantage, target, decisions);
      case kDppoTv:
        return dppo_tv(advantage, target, decisions);
      case kDppoKl:
        return dppo_kl(advantage, target, decisions);
      default:
        return reinforce(advantage, target, decisions);
    }
  }
};

inline TokenForm token_form(const PolicyLossClipArgs& args) {
  TokenForm form = {TokenForm::kClip, {}};
  form.clip = form_of(args.bounds);
  return form;
}

inline TokenForm token_form(const PolicyLossCispoArgs& args) {
  TokenForm form = {TokenForm::kCispo, {}};
  form.cispo = {args.ratio_min, args.ratio_max};
  return form;
}

inline TokenForm token_form(const PolicyLossSapoArgs& args) {
  TokenForm form = {TokenForm::kSapo, {}};
  form.sapo = {args.tau_positive, args.tau_negative};
  return form;
}

inline TokenForm token_form(const PolicyLossReinforceArgs&) { return {TokenForm::kReinforce, {}}; }

inline TokenForm dppo_tv_form(const PolicyLossDppoArgs& args) {
  TokenForm form = {TokenForm::kDppoTv, {}};
  form.dppo_tv = {args.eps_low, args.eps_high, args.ratio_cap};
  return form;
}

inline TokenForm dppo_kl_form(const PolicyLossDppoArgs& args) {
  TokenForm form = {TokenForm::kDppoKl, {}};
  form.dppo_kl = {args.eps_low, args.eps_high, args.ratio_cap};
  return form;
}

}  // namespace gpu

#endif
