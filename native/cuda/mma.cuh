// Tensor cores of sm_80 and later, as a warp has them: copies of half types into shared memory that go on while it computes,
// fragments of what lies there, and products of fragments with sums in f32. On the host every lane does its part in plain C++,
// with the same registers of the same lanes as on a device, so that indices are tested there; copies end at once.
//
// Fragments  g = lane / 4, q = lane % 4; of a pair the first element has the low bits.
//            A [16, 16]: (g, 2q), (g + 8, 2q), (g, 2q + 8), (g + 8, 2q + 8), each with its right neighbour
//            B [8, 16], a row for each column of the product: (g, 2q), (g, 2q + 8), each with its right neighbour
//            C [16, 8]: (g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1)
// Source     PTX ISA, mma.m16n8k16 and ldmatrix.

#ifndef STEPCREDIT_CUDA_MMA_CUH
#define STEPCREDIT_CUDA_MMA_CUH

#include <math.h>

#include <type_traits>

#include "block.cuh"
#include "elements.cuh"

namespace gpu {

struct FragmentA {
  unsigned pairs[4];
};
struct FragmentB {
  unsigned pairs[2];
};

// Copies 16 bytes from global to shared memory, both at multiples of 16, or puts zeros there; to be waited for.
__device__ inline void begin_copy(void* to, const void* from, bool exists) {
#if defined(__CUDACC__)
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(exists ? 16 : 0) : "memory");
#else
  *static_cast<uint4*>(to) = exists ? *static_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
#endif
}

// Ends a group of copies of this thread.
__device__ inline void end_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for this thread's groups of copies but the last kPending.
template <int kPending>
__device__ inline void wait_for_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

#if defined(__CUDACC__)
#define SC_LOAD_MATRICES(form)                                                            \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" form ".shared.b16 {%0, %1, %2, %3}, [%4];" \
               : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])           \
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))                \
               : "memory")
#endif

// Four matrices of 8 × 8 elements in shared memory: lane 8 m + i says where row i of matrix m begins, at a multiple of 16
// bytes. pairs[m]: elements (g, 2q) and (g, 2q + 1) of matrix m.
template <class Half>
__device__ inline void load_matrices(const Half* row, unsigned (&pairs)[4]) {
#if defined(__CUDACC__)
  SC_LOAD_MATRICES("");
#else
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int m = 0; m < 4; ++m) {
    const uint4 line = *reinterpret_cast<const uint4*>(__shfl_sync(kAllLanes, row, 8 * m + lane / 4));
    const unsigned of[4] = {line.x, line.y, line.z, line.w};
    pairs[m] = of[lane % 4];
  }
#endif
}

// Four matrices of 8 × 8 as above, of which a register has two elements of a column: pairs[m] are (2q, g) and (2q + 1, g).
template <class Half>
__device__ inline void load_transposed(const Half* row, unsigned (&pairs)[4]) {
#if defined(__CUDACC__)
  SC_LOAD_MATRICES(".trans");
#else
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int m = 0; m < 4; ++m) {
    Half column[2];
    for (int i = 0; i < 2; ++i) column[i] = __shfl_sync(kAllLanes, row, 8 * m + 2 * (lane % 4) + i)[lane / 4];
    memcpy(&pairs[m], column, sizeof pairs[m]);
  }
#endif
}

#if defined(__CUDACC__)
#undef SC_LOAD_MATRICES
#else

template <class Half>
inline double element_of(unsigned pair, int index) {
  return static_cast<double>(to_float(Half{static_cast<uint16_t>(pair >> 16 * index)}));
}

// What the cores add to a sum: all addends are cut off, towards 0, one bit below the last that an f32 of the largest has, and
// so is the sum at its own last. How many bits are kept differs between devices.
// Source     Fasi et al. 2021, PeerJ Computer Science 7:e330: V100, T4 and A100.
class CoreSum {
 public:
  explicit CoreSum(float sum) { add(static_cast<double>(sum)); }
  void add(double addend) {
    if (addend == 0.0) return;
    addends_[count_++] = addend;
    if (fabs(addend) > largest_ || addend != addend) largest_ = fabs(addend);
  }
  float sum() const {
    double sum = 0.0;
    if (!(largest_ < INFINITY)) {
      for (int i = 0; i < count_; ++i) sum += addends_[i];
      return static_cast<float>(sum);
    }
    if (count_ == 0) return 0.0f;
    const int last = ilogb(largest_) - 24;
    const double grain = ldexp(1.0, last), grains = ldexp(1.0, -last);
    for (int i = 0; i < count_; ++i) sum += trunc(addends_[i] * grains) * grain;
    const float nearest = static_cast<float>(sum);
    return fabs(static_cast<double>(nearest)) > fabs(sum) ? nextafterf(nearest, 0.0f) : nearest;
  }

 private:
  double addends_[17];
  int count_ = 0;
  double largest_ = 0.0;
};

#endif

// sums += A · Bᵀ. Which of the 16 products of an element are added first is the device's affair.
template <class Half>
__device__ inline void mma_16x8x16(float (&sums)[4], const FragmentA& a, const FragmentB& b) {
#if defined(__CUDACC__)
#define SC_MMA(type)                                                    \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type            \
      ".f32 "                                                           \
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])      \
      : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]), "r"(b.pairs[1]))
  if constexpr (std::is_same_v<Half, Bf16>) {
    SC_MMA("bf16");
  } else {
    SC_MMA("f16");
  }
#undef SC_MMA
#else
  struct Fragments {
    FragmentA a;
    FragmentB b;
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, q = lane % 4;
  CoreSum added[4] = {CoreSum(sums[0]), CoreSum(sums[1]), CoreSum(sums[2]), CoreSum(sums[3])};
  simt::among_lanes(Fragments{a, b}, [&](const auto& of) {
    for (int from = 0; from < 4; ++from) {  // the lanes that have terms 2 from, 2 from + 1, 2 from + 8 and 2 from + 9
      const FragmentA& rows = of(4 * g + from).a;
      for (int column = 0; column < 2; ++column) {
        const FragmentB& terms = of(4 * (2 * q + column) + from).b;
        for (int p = 0; p < 4; ++p)
          for (int i = 0; i < 2; ++i)
            added[p % 2 * 2 + column].add(element_of<Half>(rows.pairs[p], i) * element_of<Half>(terms.pairs[p / 2], i));
      }
    }
  });
  for (int i = 0; i < 4; ++i) sums[i] = added[i].sum();
#endif
}

}  // namespace gpu

#endif
