// linear_logprobs on tensor cores, for hidden states and weights of one half type: logits live in registers, and of a row
// nothing reaches memory but its sums over every 2048 columns and the logits of its targets.
//
// Numerics   products of halves are exact in f32; a logit is a chain of sums of 16 of them, each added by the tensor cores,
// whose
//            rounding is their own.
// Order      columns in groups of 2048, in each 128 at a time, in order. A row's bits depend on that row alone.

#ifndef STEPCREDIT_CUDA_HEAD_TILES_CUH
#define STEPCREDIT_CUDA_HEAD_TILES_CUH

#include "queue.cuh"

namespace gpu {

// Whether a head is one of theirs: one half type, rows of H at multiples of 16 bytes.
bool head_tiles_fit(const HeadRows& head);

// Scratch memory for so many rows.
size_t head_tiles_bytes(const HeadRows& head, int64_t rows);

// Enqueues lse, log-probs and entropies of the rows of a list, whose hidden states lie side by side in `hidden`.
void enqueue_head_tiles(const LinearLogprobsArgs& args, const int32_t* list, int64_t rows, const void* hidden, void* memory,
                        cudaStream_t stream);

}  // namespace gpu

#endif
