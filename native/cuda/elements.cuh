// Elements of arrays on the device: f32, bf16 and f16, read and written one by one or 16 bytes at a time; arithmetic is f32.

#ifndef STEPCREDIT_CUDA_ELEMENTS_CUH
#define STEPCREDIT_CUDA_ELEMENTS_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

#include "../ops.h"

namespace gpu {

struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

__host__ __device__ inline float to_float(float value) { return value; }
__host__ __device__ inline float to_float(Bf16 value) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
#else
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
#endif
}

// To nearest even; a NaN stays one.
__host__ __device__ inline void from_float(float value, float* to) { *to = value; }
__host__ __device__ inline void from_float(float value, Bf16* to) {
#if defined(__CUDA_ARCH__)
  const unsigned bits = __float_as_uint(value);
#else
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
#endif
  to->bits = static_cast<uint16_t>(value != value ? (bits >> 16 | 0x40) : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#if defined(__CUDACC__)

__device__ inline float to_float(F16 value) { return __half2float(__ushort_as_half(value.bits)); }
__device__ inline void from_float(float value, F16* to) { to->bits = __half_as_ushort(__float2half_rn(value)); }

#else

inline float to_float(F16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t rest = value.bits & 0x7fff;
  // Shifted into the exponent of f32 the number is 2^112 too small, subnormal ones too; Inf and NaN have an exponent of their
  // own.
  const float number = __uint_as_float(rest << 13) * 0x1p112f;
  const uint32_t bits = rest >= 0x7c00 ? 0x7f800000u | rest << 13 : __float_as_uint(number);
  return __uint_as_float(sign | bits);
}

inline void from_float(float value, F16* to) {
  const uint32_t bits = __float_as_uint(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
  uint32_t half;
  if (rest > 0x7f800000) {
    half = 0x7e00;
  } else if (rest >= 0x477ff000) {
    half = 0x7c00;
  } else if (rest < 0x38800000) {
    // Below the normal numbers of f16 adding ½ rounds to multiples of 2^−24.
    half = __float_as_uint(__uint_as_float(rest) + 0.5f) - __float_as_uint(0.5f);
  } else {
    half = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
  }
  to->bits = static_cast<uint16_t>(sign | half);
}

#endif

// As many elements as 16 bytes hold.
template <class Element>
struct alignas(16) Wide {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(Element));
  Element of[kCount];
};

template <class Element>
__device__ inline Wide<Element> load_wide(const Element* from) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  Wide<Element> wide;
  memcpy(&wide, &bits, sizeof wide);
  return wide;
}

template <class Element>
__device__ inline void store_wide(Element* to, const Wide<Element>& wide) {
  uint4 bits;
  memcpy(&bits, &wide, sizeof bits);
  *reinterpret_cast<uint4*>(to) = bits;
}

template <class Of>
struct ElementType {
  using Element = Of;
};

// body(ElementType<…>{}) of the dtype.
template <class Body>
inline void with_element(int32_t dtype, const Body& body) {
  if (dtype == kBf16) {
    body(ElementType<Bf16>{});
  } else if (dtype == kF16) {
    body(ElementType<F16>{});
  } else {
    body(ElementType<float>{});
  }
}

}  // namespace gpu

#endif
