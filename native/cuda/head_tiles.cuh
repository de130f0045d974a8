// linear_logprobs and its backward on tensor cores, for hidden states and weights of one half type. Of the forward, logits live
// in registers, and of a row nothing reaches memory but its sums over every 2048 columns and the logits of its targets; of the
// backward, the gradients of logits do.
//
// Numerics   products of halves are exact in f32; a logit is a chain of sums of 16 of them, each added by the tensor cores,
//            whose rounding is their own.
// Order      columns in groups of 2048, in each 128 at a time, in order. A row's bits depend on that row alone.

#ifndef STEPCREDIT_CUDA_HEAD_TILES_CUH
#define STEPCREDIT_CUDA_HEAD_TILES_CUH

#include "queue.cuh"

namespace gpu {

// Whether a direction takes tiles rather than products that go through memory, if a head is one of theirs: one half type, H a
// multiple of 16, not portable. The forward does where there is no cuBLASLt, the backward everywhere, since cuBLASLt multiplies
// no gradients of f32 with halves. STEPCREDIT_CUDA_HEAD asks both for "tiles" or "products".
bool forward_takes_tiles(const HeadRows& head);
bool backward_takes_tiles(const HeadRows& head);

// Scratch memory of the forward for so many rows.
size_t head_tiles_bytes(const HeadRows& head, int64_t rows);

// Enqueues lse, log-probs and entropies of the rows of a list, whose hidden states lie side by side in `hidden`.
void enqueue_head_tiles(const LinearLogprobsArgs& args, const int32_t* list, int64_t rows, const void* hidden, void* memory,
                        cudaStream_t stream);

// Columns of a tile: what a row of gradients is filled up to with zeros.
constexpr int64_t kGradientTile = 128;

// A part of the vocabulary, and the gradients of its logits: `dlogits` has rows of `stride`, at multiples of kGradientTile.
struct GradientSlab {
  int64_t begin, width;
  float* dlogits;
  int64_t stride;
};

// Enqueues the gradients of the logits of the rows of a list.
void enqueue_gradient_tiles(const LinearLogprobsBackwardArgs& args, const int32_t* list, int64_t rows, const void* hidden,
                            const GradientSlab& slab, cudaStream_t stream);

}  // namespace gpu

#endif
