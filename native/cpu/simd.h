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

#endif
