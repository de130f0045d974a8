// Products of f32 with a half type or with f32 on tensor cores, to the accuracy of f32: operands of f32 are split into terms
// that the cores take, and terms are multiplied. At most 2⁻²³ of an element is left out.
//
//   bf16   x = a + b + c, each the bf16 nearest to what is left: 3 · 8 bits
//   f16    x = a + b in tf32, 2 · 11 bits, whose exponents are those of f32; an f16 is a tf32 as it is
//   f32    both operands in bf16; of the nine products of terms the three least, 2⁻²⁴ of the product together, are left out
//
// Hazards    of an infinite x the rest is NaN, and so is a product.
// Source     Henry, Tang & Heinecke 2019, arXiv:1904.06376; Ootomo & Yokota 2022, arXiv:2203.03341.

#ifndef STEPCREDIT_CUDA_SPLIT_MMA_CUH
#define STEPCREDIT_CUDA_SPLIT_MMA_CUH

#include "mma.cuh"
#include "unroll.cuh"

namespace gpu {

// What a lane has of A [16, 16] in f32: of[p] are the two elements that FragmentA has in pairs[p].
struct FloatsA {
  float of[4][2];
};

// Of a matrix in shared memory with `pitch` elements from row to row; `rows` are rows of A, else its columns.
template <bool rows>
__device__ inline FloatsA load_floats(const float* matrix, int pitch) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, q = lane % 4;
  FloatsA a;
  SC_UNROLL
  for (int p = 0; p < 4; ++p) {
    const int row = g + p % 2 * 8, term = 2 * q + p / 2 * 8;
    if (rows) {
      const float2 two = *reinterpret_cast<const float2*>(matrix + row * pitch + term);
      a.of[p][0] = two.x;
      a.of[p][1] = two.y;
    } else {
      a.of[p][0] = matrix[term * pitch + row];
      a.of[p][1] = matrix[(term + 1) * pitch + row];
    }
  }
  return a;
}

// Both to the nearest bf16, the first in the low bits.
__device__ inline unsigned bf16_pair(float low, float high) {
#if defined(__CUDA_ARCH__)
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  Bf16 halves[2];
  from_float(low, halves);
  from_float(high, halves + 1);
  return static_cast<unsigned>(halves[0].bits) | static_cast<unsigned>(halves[1].bits) << 16;
#endif
}

// To the nearest tf32, ties away from 0, as the bits of an f32; the device leaves it open what the last 13 are.
__device__ inline unsigned tf32_bits(float x) {
#if defined(__CUDA_ARCH__)
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
  const unsigned bits = x == x ? __float_as_uint(x) + 0x1000u : 0x7fffffffu;
#endif
  return bits & ~0x1fffu;
}

// Takes from two numbers the bf16 nearest to each.
__device__ inline unsigned take_bf16_pair(float* low, float* high) {
  const unsigned pair = bf16_pair(*low, *high);
  *low -= __uint_as_float(pair << 16);
  *high -= __uint_as_float(pair & 0xffff0000u);
  return pair;
}

template <class Half>
struct SplitA;

template <>
struct SplitA<Bf16> {
  FragmentA terms[3];

  __device__ explicit SplitA(FloatsA x) {
    SC_UNROLL
    for (int term = 0; term < 3; ++term) {
      SC_UNROLL
      for (int p = 0; p < 4; ++p) terms[term].pairs[p] = take_bf16_pair(&x.of[p][0], &x.of[p][1]);
    }
  }
};

template <>
struct SplitA<F16> {
  unsigned terms[2][4][2];

  __device__ explicit SplitA(FloatsA x) {
    SC_UNROLL
    for (int term = 0; term < 2; ++term) {
      SC_UNROLL
      for (int p = 0; p < 4; ++p) {
        SC_UNROLL
        for (int i = 0; i < 2; ++i) {
          terms[term][p][i] = tf32_bits(x.of[p][i]);
          x.of[p][i] -= __uint_as_float(terms[term][p][i]);
        }
      }
    }
  }
};

// B [8, 16] in f32.
struct SplitB {
  FragmentB terms[3];
};

// sums += A · Bᵀ of 8 terms in tf32.
//   A [16, 8]   (g, q), (g + 8, q), (g, q + 4), (g + 8, q + 4)
//   B [8, 8]    (g, q), (g, q + 4)
__device__ inline void mma_16x8x8(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDACC__)
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  struct Fragments {
    unsigned a[4], b[2];
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, q = lane % 4;
  const auto number = [](unsigned bits) { return static_cast<double>(__uint_as_float(bits & ~0x1fffu)); };
  CoreSum added[4] = {CoreSum(sums[0]), CoreSum(sums[1]), CoreSum(sums[2]), CoreSum(sums[3])};
  simt::among_lanes(Fragments{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, [&](const auto& of) {
    for (int from = 0; from < 4; ++from) {
      const unsigned(&rows)[4] = of(4 * g + from).a;
      for (int column = 0; column < 2; ++column) {
        const unsigned(&terms)[2] = of(4 * (2 * q + column) + from).b;
        for (int p = 0; p < 4; ++p) added[p % 2 * 2 + column].add(number(rows[p]) * number(terms[p / 2]));
      }
    }
  });
  for (int i = 0; i < 4; ++i) sums[i] = added[i].sum();
#endif
}

// sums += A · Bᵀ of 16 terms. Products of small terms come first: the cores cut off, and less of a small sum.
__device__ inline void mma_split(float (&sums)[4], const SplitA<Bf16>& a, const FragmentB& b) {
  SC_UNROLL
  for (int term = 2; term >= 0; --term) mma_16x8x16<Bf16>(sums, a.terms[term], b);
}

// The cores' terms q and q + 4 are the neighbours 2q and 2q + 1 here, of A and of B alike: so a pair of halves has both.
__device__ inline void mma_split(float (&sums)[4], const SplitA<F16>& a, const FragmentB& b) {
  const auto widened = [](unsigned half) { return __float_as_uint(to_float(F16{static_cast<uint16_t>(half)})); };
  SC_UNROLL
  for (int half = 0; half < 2; ++half) {
    const unsigned terms[2] = {widened(b.pairs[half] & 0xffffu), widened(b.pairs[half] >> 16)};
    SC_UNROLL
    for (int term = 1; term >= 0; --term) {
      const auto& of = a.terms[term];
      const unsigned rows[4] = {of[2 * half][0], of[2 * half + 1][0], of[2 * half][1], of[2 * half + 1][1]};
      mma_16x8x8(sums, rows, terms);
    }
  }
}

__device__ inline void mma_split(float (&sums)[4], const SplitA<Bf16>& a, const SplitB& b) {
  SC_UNROLL
  for (int least = 2; least >= 0; --least) {
    SC_UNROLL
    for (int term = 0; term <= least; ++term) mma_16x8x16<Bf16>(sums, a.terms[term], b.terms[least - term]);
  }
}

}  // namespace gpu

#endif
