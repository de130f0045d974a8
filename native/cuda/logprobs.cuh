// The passes of logprobs and logprobs_backward, for the ops that are made of them.

#ifndef STEPCREDIT_CUDA_LOGPROBS_CUH
#define STEPCREDIT_CUDA_LOGPROBS_CUH

#include "queue.cuh"

namespace gpu {

// `shared`: scratch memory of shared_rows_bytes.
void enqueue_logprobs(const LogprobsArgs& args, const Queue& queue, void* shared);

// The entropies' gradients are `sign` times those of the record; kept_y [N] f32 is scratch memory.
void enqueue_logprobs_backward(const LogprobsBackwardArgs& args, float sign, float* kept_y, const Queue& queue, void* shared);

}  // namespace gpu

#endif
