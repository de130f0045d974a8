// The passes of the losses over their targets, for the ops that are made of them: partial sums of the metrics beside the
// gradients. `partial` has room for as many sums as `partial_sums` says.

#ifndef STEPCREDIT_CUDA_LOSSES_CUH
#define STEPCREDIT_CUDA_LOSSES_CUH

#include "policy_loss_forms.cuh"
#include "queue.cuh"

namespace gpu {

void enqueue_token_loss(const PolicyLossTargets& args, const TokenForm& form, const IgnoredTargets& ignored, LossSums* partial,
                        cudaStream_t stream);

void enqueue_sequence_loss(const PolicyLossSequenceClipArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream);
void enqueue_sequence_loss(const PolicyLossGspoTokenArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream);
void enqueue_sequence_loss(const PolicyLossGmpoArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream);
void enqueue_sequence_loss(const PolicyLossVespoArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream);

}  // namespace gpu

#endif
