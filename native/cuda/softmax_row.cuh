// Sums over one row of numbers that its softmax, entropy and log-probabilities are made of, in one pass: the device's side of
// native/cpu/softmax_row.h. Products that are added to something are written as fmaf, so that no compiler decides about the
// bits.

#ifndef STEPCREDIT_CUDA_SOFTMAX_ROW_CUH
#define STEPCREDIT_CUDA_SOFTMAX_ROW_CUH

#include <math.h>

#include "block.cuh"
#include "unroll.cuh"

namespace gpu {

// The larger of two; NaN where one of them is.
__device__ inline float larger_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__)
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
#else
  return b < a ? a : b;
#endif
}

// e^z of z ≤ 0 or so, to 4 ulps, with 0 where the result would be subnormal. 2^p is one instruction; what z / ln 2 was rounded
// by is put right to first order, because for a small result it is many ulps. −∞ is held at −1000, or it would be 0 · ∞.
__device__ inline float exp_of(float z) {
  const float held = larger_or_nan(-1000.0f, z);
  const float p = held * 1.44269504088896341f;
  const float rounded_by = fmaf(p, -0.693147180559945309f, held);
#if defined(__CUDA_ARCH__)
  float e;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(p));
#else
  float e = exp2f(p);
  if (e < 0x1p-126f) e = 0.0f;
#endif
  return fmaf(e, rounded_by, e);
}

// Products that no compiler fuses with a sum, and a sum that none fuses with a product.
__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }
__device__ inline float plus(float a, float b) { return __fadd_rn(a, b); }

// Σ over elements of e = exp((x − top) · scale), with the `tops` elements that equal the maximum (e = 1) kept apart, so that
// log(Σ) = log1p(rest) keeps its relative accuracy where one logit towers over the others. A thread sums in f32, a row in f64.
template <class Sum>
struct RowSums {
  float top;
  int32_t tops;
  Sum rest;      // Σ e over the elements below the maximum
  Sum weighted;  // Σ e · (x − top) · scale, only with moments
  Sum squares;   // Σ e², only with moments

  __device__ Sum total() const { return static_cast<Sum>(tops) + rest; }
  __device__ float log_total() const {
    return tops == 1 ? log1pf(static_cast<float>(rest)) : logf(static_cast<float>(total()));
  }

  // The same sums against a maximum that is not smaller.
  __device__ void rebase(float higher, float scale) {
    if (!(higher > top)) return;
    if (tops > 0 || rest != static_cast<Sum>(0)) {
      const float shift = (top - higher) * scale;
      const Sum factor = static_cast<Sum>(expf(shift));
      weighted = factor == static_cast<Sum>(0) ? factor : times(factor, fma(static_cast<Sum>(shift), total(), weighted));
      squares = times(squares, times(factor, factor));
      rest = times(factor, total());
      tops = 0;
    }
    top = higher;
  }
};

template <class Sum>
__device__ inline RowSums<Sum> no_sums() {
  return {-INFINITY, 0, 0, 0, 0};
}

// The sums of two parts of what a thread has of a row.
__device__ inline RowSums<float> joined(RowSums<float> a, RowSums<float> b, float scale) {
  a.rebase(b.top, scale);
  b.rebase(a.top, scale);
  return {a.top, a.tops + b.tops, plus(a.rest, b.rest), plus(a.weighted, b.weighted), plus(a.squares, b.squares)};
}

// Adds kCount elements, all against one base. Only where one reaches the maximum so far are they compared with it.
template <bool with_moments, bool may_equal, int kCount>
__device__ inline void add_against(RowSums<float>* sums, const float (&x)[kCount], float base, float scale) {
  float rest = 0.0f;
  SC_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const float z = (x[i] - base) * scale;
    const float e = exp_of(z);
    const bool is_top = may_equal && x[i] == base;
    if (is_top) sums->tops++;
    if (!is_top) rest += e;
    if (with_moments) {
      sums->weighted = fmaf(e, fmaxf(-1000.0f, z), sums->weighted);  // 0 · (−∞) = 0
      sums->squares = fmaf(e, e, sums->squares);
    }
  }
  sums->rest += rest;
}

template <bool with_moments, int kCount>
__device__ inline void add_elements(RowSums<float>* sums, const float (&x)[kCount], float scale) {
  float most = x[0];
  SC_UNROLL
  for (int i = 1; i < kCount; ++i) most = fmaxf(most, x[i]);  // a NaN is passed over here, and stays in the sums
  if (most < sums->top) {
    add_against<with_moments, false>(sums, x, sums->top, scale);
  } else {
    sums->rebase(most, scale);
    // Nothing but −∞ so far, or NaN: x − x would be NaN at −∞ too.
    add_against<with_moments, true>(sums, x, sums->top == -INFINITY ? 0.0f : sums->top, scale);
  }
}

// The sums of the lanes of a warp, in every lane.
template <bool with_moments, class Sum>
__device__ inline RowSums<double> sum_lanes(RowSums<Sum> own, float scale) {
  own.rebase(reduce_warp(own.top, Larger{}), scale);
  RowSums<double> all = {own.top, reduce_warp(own.tops, Add{}), reduce_warp(static_cast<double>(own.rest), Add{}), 0.0, 0.0};
  if (with_moments) {
    all.weighted = reduce_warp(static_cast<double>(own.weighted), Add{});
    all.squares = reduce_warp(static_cast<double>(own.squares), Add{});
  }
  return all;
}

// The sums of a row, in every thread of the block, from those of its threads.
template <int kThreads, bool with_moments>
__device__ inline RowSums<double> sum_threads(const RowSums<float>& own, float scale) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ RowSums<double> of_warp[kWarps];
  const RowSums<double> mine = sum_lanes<with_moments>(own, scale);
  if (kWarps == 1) return mine;
  const int lane = threadIdx.x % kWarp;
  __syncthreads();  // the values of a call before have been read
  if (lane == 0) of_warp[threadIdx.x / kWarp] = mine;
  __syncthreads();
  return sum_lanes<with_moments>(lane < kWarps ? of_warp[lane] : no_sums<double>(), scale);
}

__device__ inline float row_entropy(const RowSums<double>& sums) {
  if (sums.top == -INFINITY) return static_cast<float>(sums.rest);  // 0, or NaN
  return static_cast<float>(static_cast<double>(sums.log_total()) - sums.weighted / sums.total());
}

__device__ inline float row_sum_squares(const RowSums<double>& sums) {
  return sums.top == -INFINITY ? 0.0f : static_cast<float>(sums.squares / (sums.total() * sums.total()));
}

__device__ inline float row_lse(const RowSums<double>& sums, float scale) {
  if (sums.top == -INFINITY) return sums.rest == 0.0 ? -INFINITY : static_cast<float>(sums.rest);
  return fmaf(sums.top, scale, sums.log_total());
}

__device__ inline float row_logprob(const RowSums<double>& sums, float logit, float scale) {
  if (sums.top == -INFINITY) return sums.rest == 0.0 ? -INFINITY : static_cast<float>(sums.rest);
  return fmaf(logit - sums.top, scale, -sums.log_total());
}

}  // namespace gpu

#endif
