// Vectors of the instruction set that this translation unit is compiled for, written with the compiler's vector types, so that
// the same kernel sources serve AVX-512, AVX2, NEON and plain SSE2. Everything is static: no weak symbol may leave a
// translation unit compiled with wider instructions than the baseline (the linker could pick it for the baseline path).

#ifndef STEPCREDIT_CPU_SIMD_H
#define STEPCREDIT_CPU_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__AVX512F__)
#define SC_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define SC_VECTOR_BYTES 32
#else
#define SC_VECTOR_BYTES 16
#endif

typedef float VecF __attribute__((vector_size(SC_VECTOR_BYTES)));
typedef int32_t VecI __attribute__((vector_size(SC_VECTOR_BYTES)));
typedef uint32_t VecU __attribute__((vector_size(SC_VECTOR_BYTES)));

enum : int64_t { kLanes = SC_VECTOR_BYTES / 4 };

static inline VecF splat(float x) { return x - VecF{}; }
static inline VecI splat_int(int32_t x) { return x - VecI{}; }

static inline VecF load(const float* from) {
  VecF v;
  memcpy(&v, from, sizeof v);
  return v;
}

static inline void store(float* to, VecF v) { memcpy(to, &v, sizeof v); }

// The first `count` lanes from memory, the others `fill`.
static inline VecF load_part(const float* from, int64_t count, float fill) {
  VecF v = splat(fill);
  memcpy(&v, from, static_cast<size_t>(count) * sizeof(float));
  return v;
}

static inline void store_part(float* to, VecF v, int64_t count) { memcpy(to, &v, static_cast<size_t>(count) * sizeof(float)); }

// a · b + c with one rounding where the instruction set has it. Contraction by the compiler is off, so this is the only place.
static inline VecF fma(VecF a, VecF b, VecF c) {
#if defined(__AVX512F__)
  return (VecF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (VecF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (VecF)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

static inline VecF sqrt(VecF x) {
#if defined(__AVX512F__)
  return (VecF)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)x);
#elif defined(__AVX2__)
  return (VecF)_mm256_sqrt_ps((__m256)x);
#elif defined(__aarch64__)
  return (VecF)vsqrtq_f32((float32x4_t)x);
#else
  for (int64_t lane = 0; lane < kLanes; ++lane) x[lane] = sqrtf(x[lane]);
  return x;
#endif
}

// A NaN in `b` is dropped, one in `a` is kept.
static inline VecF max(VecF a, VecF b) { return b > a ? b : a; }

// Lanes are added as a balanced tree, so the order does not depend on the compiler.
static inline float sum_lanes(VecF v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

static inline float max_lanes(VecF v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t i = 0; i < width; ++i)
      if (lanes[i + width] > lanes[i]) lanes[i] = lanes[i + width];
  return lanes[0];
}

// e^x to 1 ulp or so: x = n ln 2 + r with |r| ≤ ln 2 / 2, a polynomial of degree 7 in r, scaled by 2^n in two steps so that
// denormal results are right. 0 below −104, +∞ above 88.8; NaN stays NaN. Lanes below −104 are taken out of the arithmetic:
// one that underflows costs the processor about a hundred nanoseconds for the whole vector.
static inline VecF exp(VecF x) {
  const VecF round_to_int = splat(12582912.0f);  // 1.5 · 2²³: adding it leaves the nearest integer in the low bits
  const VecI gone = x < splat(-104.0f);
  x = gone ? VecF{} : x;
  x = x > splat(89.0f) ? splat(89.0f) : x;
  const VecF shifted = fma(x, splat(1.44269504088896341f), round_to_int);
  const VecF n = shifted - round_to_int;
  VecF r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440054690583e-4f), r);
  VecF y = splat(1.9875691500e-4f);
  y = fma(y, r, splat(1.3981999507e-3f));
  y = fma(y, r, splat(8.3334519073e-3f));
  y = fma(y, r, splat(4.1665795894e-2f));
  y = fma(y, r, splat(1.6666665459e-1f));
  y = fma(y, r, splat(5.0000001201e-1f));
  y = fma(y, r * r, r + splat(1.0f));
#if defined(__AVX512F__)
  return gone ? VecF{} : (VecF)_mm512_maskz_scalef_ps(static_cast<__mmask16>(-1), (__m512)y, (__m512)n);
#else
  const VecI exponent = (VecI)shifted - (VecI)round_to_int;
  const VecI half = exponent >> 1;
  const VecF low = (VecF)((half + splat_int(127)) << 23);
  const VecF high = (VecF)((exponent - half + splat_int(127)) << 23);
  return gone ? VecF{} : y * low * high;
#endif
}

// e^x for x ≤ 88 to 1 ulp or so, at half the price of exp: 0 below −86.5, where the result would soon leave the normal floats.
// A polynomial of degree 6 with a relative error of 4e-9 in r; NaN stays NaN. Above 88 the result is arbitrary.
static inline VecF exp_of_shifted(VecF x) {
  const VecF round_to_int = splat(12582912.0f);
  const VecF shifted = fma(x, splat(1.44269504088896341f), round_to_int);
  const VecF n = shifted - round_to_int;
  VecF r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440054690583e-4f), r);
  VecF y = fma(splat(1.381454058e-3f), r, splat(8.368744515e-3f));
  y = fma(y, r, splat(4.166838899e-2f));
  y = fma(y, r, splat(1.666652113e-1f));
  y = fma(y, r, splat(4.999999404e-1f));
  y = fma(y, r, splat(1.0f));
  y = fma(y, r, splat(1.0f));
#if defined(__AVX512F__)
  const __mmask16 present = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-86.5f), _CMP_NLT_UQ);
  return (VecF)_mm512_maskz_scalef_ps(present, (__m512)y, (__m512)n);
#else
  const VecU power = ((VecU)shifted << 23) + (VecU)splat_int(127 << 23);  // wraps in the lanes that are taken out
  return x < splat(-86.5f) ? VecF{} : y * (VecF)power;
#endif
}

// tanh to about 2 ulps: an odd polynomial below 0.625, 1 − 2 / (e^2|x| + 1) above; ±1 at ±∞; NaN stays NaN.
static inline VecF tanh(VecF x) {
  const VecF size = x < VecF{} ? -x : x;
  const VecF square = x * x;
  VecF odd = splat(-6.104945780e-3f);
  odd = fma(odd, square, splat(2.100363926e-2f));
  odd = fma(odd, square, splat(-5.385249690e-2f));
  odd = fma(odd, square, splat(1.333278226e-1f));
  odd = fma(odd, square, splat(-3.333332910e-1f));
  const VecF small = fma(odd * square, x, x);
  const VecF large = splat(1.0f) - splat(2.0f) / (exp(size + size) + splat(1.0f));
  return size < splat(0.625f) ? small : x < VecF{} ? -large : large;
}

// ── half floats: values in memory, computed with as f32

struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

typedef uint16_t VecHalf __attribute__((vector_size(SC_VECTOR_BYTES / 2)));

static inline VecHalf load_bits(const void* from) {
  VecHalf v;
  memcpy(&v, from, sizeof v);
  return v;
}

static inline VecF widen(const Bf16*, VecHalf bits) { return (VecF)(__builtin_convertvector(bits, VecI) << 16); }

// To the nearest, ties to even; a NaN stays one.
static inline VecHalf narrow(const Bf16*, VecF v) {
  const VecI bits = (VecI)v;
  const VecI odd = (bits >> 16) & splat_int(1);
  const VecI rounded = v == v ? bits + splat_int(0x7fff) + odd : bits | splat_int(0x400000);
  return __builtin_convertvector(rounded >> 16, VecHalf);
}

#if defined(__AVX512F__)
static inline VecF widen(const F16*, VecHalf bits) {
  return (VecF)_mm512_maskz_cvtph_ps(static_cast<__mmask16>(-1), (__m256i)bits);
}
static inline VecHalf narrow(const F16*, VecF v) {
  return (VecHalf)_mm512_maskz_cvtps_ph(static_cast<__mmask16>(-1), (__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#elif defined(__AVX2__)
static inline VecF widen(const F16*, VecHalf bits) { return (VecF)_mm256_cvtph_ps((__m128i)bits); }
static inline VecHalf narrow(const F16*, VecF v) {
  return (VecHalf)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#elif defined(__aarch64__)
static inline VecF widen(const F16*, VecHalf bits) { return (VecF)vcvt_f32_f16((float16x4_t)bits); }
static inline VecHalf narrow(const F16*, VecF v) { return (VecHalf)vcvt_f16_f32((float32x4_t)v); }
#else
static inline VecF widen(const F16*, VecHalf bits) {
  const VecI wide = __builtin_convertvector(bits, VecI);
  const VecI sign = (wide & splat_int(0x8000)) << 16;
  const VecI size = (wide & splat_int(0x7fff)) << 13;
  // As the bits of an f32 the size is 2⁻¹¹² of what it should be, denormals included; infinities and NaN have exponent 255.
  const VecI finite = (VecI)((VecF)size * splat(0x1p112f));
  return (VecF)(sign | (size >= splat_int(0x7c00 << 13) ? size | splat_int(0x7f800000) : finite));
}
static inline VecHalf narrow(const F16*, VecF v) {
  const VecI size = (VecI)v & splat_int(0x7fffffff);
  const VecI sign = ((VecI)v >> 16) & splat_int(0x8000);
  // Below 2⁻¹⁴ adding ½ leaves the rounded multiple of 2⁻²⁴ in the low bits; above, the exponent is shifted by 112.
  const VecI small = (VecI)((VecF)size + splat(0.5f)) - splat_int(0x3f000000);
  const VecI normal = (size + splat_int(0xfff - (112 << 23)) + ((size >> 13) & splat_int(1))) >> 13;
  VecI half = size < splat_int(0x38800000) ? small : normal;
  half = size >= splat_int(0x477ff000) ? splat_int(0x7c00) : half;  // from 65520 on
  half = v == v ? half : splat_int(0x7e00);
  return __builtin_convertvector(sign | half, VecHalf);
}
#endif

template <class Half>
static inline VecF load(const Half* from) {
  return widen(from, load_bits(from));
}

template <class Half>
static inline VecF load_part(const Half* from, int64_t count, float fill) {
  VecHalf bits = {};
  memcpy(&bits, from, static_cast<size_t>(count) * sizeof(Half));
  float lanes[kLanes];
  store(lanes, widen(from, bits));
  return load_part(static_cast<const float*>(lanes), count, fill);
}

template <class Half>
static inline void store(Half* to, VecF v) {
  const VecHalf bits = narrow(static_cast<const Half*>(to), v);
  memcpy(to, &bits, sizeof bits);
}

template <class Half>
static inline void store_part(Half* to, VecF v, int64_t count) {
  const VecHalf bits = narrow(static_cast<const Half*>(to), v);
  memcpy(to, &bits, static_cast<size_t>(count) * sizeof(Half));
}

static inline float to_float(const float* from) { return *from; }
template <class Half>
static inline float to_float(const Half* from) {
  float lanes[kLanes];
  store(lanes, load_part(from, 1, 0.0f));
  return lanes[0];
}

static inline void put_float(float* to, float value) { *to = value; }
template <class Half>
static inline void put_float(Half* to, float value) {
  store_part(to, splat(value), 1);
}

// ── stores that bypass the caches: for results that do not fit them. `to` is aligned to the vector that is stored.

static inline void stream(float* to, VecF v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(to, (__m256)v);
#elif defined(__SSE2__)
  _mm_stream_ps(to, (__m128)v);
#else
  store(to, v);
#endif
}

template <class Half>
static inline void stream(Half* to, VecF v) {
#if defined(__AVX512F__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)narrow(static_cast<const Half*>(to), v));
#elif defined(__AVX2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)narrow(static_cast<const Half*>(to), v));
#else
  store(to, v);
#endif
}

// Makes what was streamed visible before what is stored next.
static inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Lanes whose bit is set, the first in the lowest bit of `bits`.
static inline VecI lanes_of(uint32_t bits) {
  VecI lane;
  for (int64_t i = 0; i < kLanes; ++i) lane[i] = 1 << i;
  return (splat_int(static_cast<int32_t>(bits)) & lane) != splat_int(0);
}

#endif
