// The gradient of a row's logits in linear_logprobs_backward, element by element, from a logit and what the forward said of the
// row. The formulas are those of logprobs_backward in ops.h.

#ifndef STEPCREDIT_CUDA_HEAD_GRADIENT_CUH
#define STEPCREDIT_CUDA_HEAD_GRADIENT_CUH

#include "logit_row.cuh"

namespace gpu {

// What the gradient of one row needs besides its logits.
struct HeadGradient {
  LogitChain chain;
  const int32_t* targets;
  int32_t count;  // of targets
  int32_t ignore_index;
  float lse, dentropy, entropy;
  const float* logprobs;
  const float* dlogprobs;

  __device__ bool ignored(int32_t k) const { return targets[k] == ignore_index; }

  __device__ float G() const {
    float sum = 0.0f;
    for (int32_t k = 0; k < count; ++k) sum += ignored(k) ? 0.0f : dlogprobs[k];
    return sum;
  }

  // Of an entry that is no target, from its y; `factor`: −G.
  __device__ float at(float y, float factor) const {
    const float logp = fmaf(y, chain.scale, -lse);
    const float p = exp_of(logp);
    float d = factor * p;
    if (dentropy != 0.0f && p != 0.0f) d = fmaf(-dentropy * p, logp + entropy, d);  // a NaN stays
    return d * bent(y);
  }

  __device__ float bent(float y) const {
    return chain.softcap > 0.0f ? chain.slope * LogitChain::bend(y / chain.softcap) : chain.slope;
  }

  // Of the k-th target, if it is the first of its id; `plain`: what `at` gave.
  __device__ float at_target(int32_t k, float y, float plain) const {
    float own = 0.0f;
    for (int32_t j = k; j < count; ++j) own += targets[j] == targets[k] ? dlogprobs[j] : 0.0f;
    const float logp = logprobs[k], all = G();
    if (logp < -0.28768207f) return plain + own * bent(y);
    // p ≥ ¾: own − G p = (own − G) + G (1 − p) without cancellation
    float d = (own - all) - all * expm1f(logp);
    if (dentropy != 0.0f) d -= dentropy * expf(logp) * (logp + entropy);
    return d * bent(y);
  }

  __device__ bool first_of_its_id(int32_t k) const {
    for (int32_t j = 0; j < k; ++j)
      if (targets[j] == targets[k]) return false;
    return true;
  }
};

__device__ inline HeadGradient head_gradient(const LinearLogprobsBackwardArgs& args, int64_t t) {
  const HeadRows& head = args.head;
  const int32_t first = head.target_offsets[t];
  return {logit_chain(head, t),
          head.targets + first,
          head.target_offsets[t + 1] - first,
          head.ignore_index,
          args.lse[t],
          args.dentropy ? args.dentropy[t] : 0.0f,
          args.dentropy ? args.entropy[t] : 0.0f,
          args.logprobs + first,
          args.dlogprobs + first};
}

}  // namespace gpu

#endif
