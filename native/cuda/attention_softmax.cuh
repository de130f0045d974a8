// The softmax of an attention row, as tree_attention and decode_attention both compute it: their bits agree because they take
// the same steps, whichever threads take them.
//
// The entries of a path, counted from its root, lie in blocks of 64, which lie in stretches of 512. A stretch has a maximum
// and sums of its own, which a block changes with one factor; stretches are joined in order. Inside a block, entry e belongs
// to partial sum e % 8 / 2. So stretches may be computed apart from each other, and what a row does not see changes nothing.

#ifndef STEPCREDIT_CUDA_ATTENTION_SOFTMAX_CUH
#define STEPCREDIT_CUDA_ATTENTION_SOFTMAX_CUH

#include <math.h>

#include "attention_tile.cuh"

namespace gpu {

constexpr int kStretch = 512;  // entries: a multiple of kTile
constexpr int kPartialSums = 4;

// Over the four lanes of a row, the same in each.
template <class Combine>
__device__ inline float reduce_four(float value, Combine combine) {
  for (int distance = kPartialSums / 2; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(kAllLanes, value, distance));
  return value;
}

// The maximum of a stretch so far, and one of its partial sums.
struct Stretch {
  float top;
  float sum;

  // Takes the scores that a lane has of line u and a block, and makes weights of them, kUnseen where seen(step) is false.
  // Returns the factor for what was summed before.
  template <class Seen>
  __device__ float take(Products& scores, int u, const Seen& seen) {
    const auto each_score = [&](const auto& body) {
      SC_UNROLL
      for (int n = 0; n < kAcross; ++n) {
        SC_UNROLL
        for (int i = 0; i < 2; ++i) body(scores[n][2 * u + i], step_of(n, i));
      }
    };
    float largest = -INFINITY;
    each_score([&](float score, int step) {
      if (seen(step)) largest = Larger{}(largest, score);
    });
    const float next = Larger{}(top, reduce_four(largest, Larger{}));
    const float base = next == -INFINITY ? 0.0f : next;
    const float factor = expf(top - base);
    top = next;
    sum *= factor;
    each_score([&](float& score, int step) {
      score = seen(step) ? expf(score - base) : kUnseen;
      sum = __fadd_rn(sum, score);
    });
    return factor;
  }
};

__device__ inline Stretch empty_stretch() { return {-INFINITY, 0.0f}; }

// How the sums of a row and those of its next stretch become one.
struct Joint {
  bool before, now;  // whether something was seen before, and in this stretch
  float old_factor, new_factor;

  __device__ float operator()(float old, float added) const {
    if (!now) return old;
    return before ? fmaf(old, old_factor, __fmul_rn(added, new_factor)) : added;
  }
};

// Maximum and sum of a row over its stretches.
struct RowSoftmax {
  float top;
  float sum;

  __device__ Joint join(float stretch_top, float stretch_sum) {
    Joint joint = {top != -INFINITY, stretch_top != -INFINITY, 1.0f, 1.0f};
    if (joint.before && joint.now) {
      const float next = Larger{}(top, stretch_top);
      joint.old_factor = expf(top - next);
      joint.new_factor = expf(stretch_top - next);
      top = next;
    } else if (joint.now) {
      top = stretch_top;
    }
    sum = joint(sum, stretch_sum);
    return joint;
  }
  __device__ float lse() const { return top + logf(sum); }
};

__device__ inline RowSoftmax nothing_seen() { return {-INFINITY, 0.0f}; }

}  // namespace gpu

#endif
