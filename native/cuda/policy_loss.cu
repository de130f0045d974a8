// policy_loss_clip, policy_loss_cispo, policy_loss_sapo, policy_loss_reinforce, policy_loss_dppo_tv, policy_loss_dppo_kl: the
// forms with one ratio per target. A thread has kThreadTargets targets.

#include "losses.cuh"
#include "table.cuh"
#include "unroll.cuh"

namespace gpu {

namespace {

template <class Form>
__global__ void __launch_bounds__(kLossThreads)
    loss_of_targets(PolicyLossTargets args, Form form, IgnoredTargets ignored, LossSums* partial) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTargetBlock + threadIdx.x;
  Inputs inputs[kThreadTargets];
  SC_UNROLL
  for (int i = 0; i < kThreadTargets; ++i)
    if (first + i * kLossThreads < args.N) inputs[i] = inputs_at(args, ignored, first + i * kLossThreads);
  LossSums sums = {};
  SC_UNROLL
  for (int i = 0; i < kThreadTargets; ++i)
    if (first + i * kLossThreads < args.N) loss_of_target(args, form, inputs[i], &sums);
  keep_sums(sums, blockIdx.x, partial);
}

template <class Form>
void enqueue_form(const PolicyLossTargets& args, const Form& form, const IgnoredTargets& ignored, LossSums* partial,
                  cudaStream_t stream) {
  const unsigned blocks = static_cast<unsigned>(target_blocks(args.N));
  if (blocks > 0) launch(loss_of_targets<Form>, {blocks, kLossThreads}, stream, args, form, ignored, partial);
}

int32_t run(const PolicyLossTargets& args, const TokenForm& form, const char* op, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t blocks = target_blocks(args.N);
  LossSums* const partial =
      static_cast<LossSums*>(scratch(&queue, static_cast<size_t>(blocks + 1) * sizeof(LossSums), op, error));
  if (!partial) return 1;
  enqueue_token_loss(args, form, none_ignored(), partial, queue.stream);
  enqueue_sum(partial, blocks, args.metrics, queue.stream);
  return launched(&queue, op, error);
}

}  // namespace

void enqueue_token_loss(const PolicyLossTargets& args, const TokenForm& form, const IgnoredTargets& ignored, LossSums* partial,
                        cudaStream_t stream) {
  switch (form.kind) {
    case TokenForm::kClip:
      return enqueue_form(args, form.clip, ignored, partial, stream);
    case TokenForm::kCispo:
      return enqueue_form(args, form.cispo, ignored, partial, stream);
    case TokenForm::kSapo:
      return enqueue_form(args, form.sapo, ignored, partial, stream);
    case TokenForm::kReinforce:
      return enqueue_form(args, form.reinforce, ignored, partial, stream);
    case TokenForm::kDppoTv:
      return enqueue_form(args, form.dppo_tv, ignored, partial, stream);
    case TokenForm::kDppoKl:
      return enqueue_form(args, form.dppo_kl, ignored, partial, stream);
  }
}

int32_t policy_loss_clip(const PolicyLossClipArgs* args, ScStream stream, ScError* error) {
  return run(args->targets, token_form(*args), "policy_loss_clip", stream, error);
}

int32_t policy_loss_cispo(const PolicyLossCispoArgs* args, ScStream stream, ScError* error) {
  return run(args->targets, token_form(*args), "policy_loss_cispo", stream, error);
}

int32_t policy_loss_sapo(const PolicyLossSapoArgs* args, ScStream stream, ScError* error) {
  return run(args->targets, token_form(*args), "policy_loss_sapo", stream, error);
}

int32_t policy_loss_reinforce(const PolicyLossReinforceArgs* args, ScStream stream, ScError* error) {
  return run(args->targets, token_form(*args), "policy_loss_reinforce", stream, error);
}

int32_t policy_loss_dppo_tv(const PolicyLossDppoArgs* args, ScStream stream, ScError* error) {
  return run(args->targets, dppo_tv_form(*args), "policy_loss_dppo_tv", stream, error);
}

int32_t policy_loss_dppo_kl(const PolicyLossDppoArgs* args, ScStream stream, ScError* error) {
  return run(args->targets, dppo_kl_form(*args), "policy_loss_dppo_kl", stream, error);
}

}  // namespace gpu
