// Vector arithmetic of the losses: e^x with its differences from 1 and 1 + x, a logarithm, f64 sums of f32 lanes, pairs.

#ifndef STEPCREDIT_CPU_SIMD_LOSS_H
#define STEPCREDIT_CPU_SIMD_LOSS_H

#include <float.h>

#include "simd.h"

typedef double VecD __attribute__((vector_size(SC_VECTOR_BYTES)));

// ── masks: which lanes a decision holds in. With AVX-512 they live in registers of their own; a vector of ints in their place
// would be made from such a register and back at every `&`.

#if defined(__AVX512F__)
typedef __mmask16 MaskBits;
#else
typedef VecI MaskBits;
#endif

struct Mask {
  MaskBits bits;
};

static inline Mask operator&(Mask a, Mask b) { return {static_cast<MaskBits>(a.bits & b.bits)}; }
static inline Mask operator|(Mask a, Mask b) { return {static_cast<MaskBits>(a.bits | b.bits)}; }
static inline Mask operator~(Mask a) { return {static_cast<MaskBits>(~a.bits)}; }
static inline Mask& operator|=(Mask& a, Mask b) { return a = a | b; }

// a < b, a ≤ b, a = b: not of a NaN. differs: also of a NaN.
#if defined(__AVX512F__)
static inline Mask below(VecF a, VecF b) { return {_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ)}; }
static inline Mask at_most(VecF a, VecF b) { return {_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ)}; }
static inline Mask equals(VecF a, VecF b) { return {_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ)}; }
#else
static inline Mask below(VecF a, VecF b) { return {a < b}; }
static inline Mask at_most(VecF a, VecF b) { return {a <= b}; }
static inline Mask equals(VecF a, VecF b) { return {a == b}; }
#endif
static inline Mask above(VecF a, VecF b) { return below(b, a); }
static inline Mask differs(VecF a, VecF b) { return ~equals(a, b); }

static inline VecF pick(Mask mask, VecF yes, VecF no) {
#if defined(__AVX512F__)
  return (VecF)_mm512_mask_blend_ps(mask.bits, (__m512)no, (__m512)yes);
#else
  return mask.bits ? yes : no;
#endif
}

static inline VecF where(Mask mask, VecF yes) { return pick(mask, yes, VecF{}); }

static inline bool any_lane(Mask mask) {
#if defined(__AVX512F__)
  return mask.bits != 0;
#elif defined(__AVX2__)
  return _mm256_testz_si256((__m256i)mask.bits, (__m256i)mask.bits) == 0;
#elif defined(__aarch64__)
  return vmaxvq_u32((uint32x4_t)mask.bits) != 0;
#else
  int32_t any = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) any |= mask.bits[lane];
  return any != 0;
#endif
}

// How many lanes were set in the masks that it was given: fewer than 2³¹ of them.
struct LaneCount {
#if defined(__AVX512F__)
  int64_t lanes;
  void add(Mask mask) { lanes += __builtin_popcount(mask.bits); }
  int64_t sum() const { return lanes; }
#else
  VecI lanes;
  void add(Mask mask) { lanes -= mask.bits; }
  int64_t sum() const {
    int64_t sum = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
    return sum;
  }
#endif
};

static inline VecF lanes_abs(VecF x) { return (VecF)((VecI)x & splat_int(0x7fffffff)); }

// The size of `size` with the sign of `sign`.
static inline VecF with_sign(VecF size, VecF sign) {
  return (VecF)((VecI)lanes_abs(size) | ((VecI)sign & splat_int(INT32_MIN)));
}

// The smaller and the larger of two, `b` where one is NaN.
static inline VecF lesser(VecF a, VecF b) {
#if defined(__AVX512F__)
  return (VecF)_mm512_maskz_min_ps(static_cast<__mmask16>(-1), (__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (VecF)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return a < b ? a : b;
#endif
}

static inline VecF greater(VecF a, VecF b) {
#if defined(__AVX512F__)
  return (VecF)_mm512_maskz_max_ps(static_cast<__mmask16>(-1), (__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (VecF)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

// x between two bounds; NaN stays.
static inline VecF held_between(VecF low, VecF high, VecF x) { return greater(low, lesser(high, x)); }

// Infinities become the largest float of their sign; NaN stays.
static inline VecF saturated(VecF x) { return held_between(splat(-FLT_MAX), splat(FLT_MAX), x); }

// The first `count` lanes from memory, the others 0. A copy of a length unknown to the compiler would be a call.
static inline VecF load_first(const float* from, int64_t count) {
  if (count == kLanes) return load(from);
#if defined(__AVX512F__)
  return (VecF)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), from);
#else
  float lanes[kLanes] = {};
  for (int64_t lane = 0; lane < count; ++lane) lanes[lane] = from[lane];
  return load(lanes);
#endif
}

static inline void store_first(float* to, VecF v, int64_t count) {
  if (count == kLanes) return store(to, v);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1u), (__m512)v);
#else
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t lane = 0; lane < count; ++lane) to[lane] = lanes[lane];
#endif
}

// 2 · count numbers, (even, odd) of every lane; lanes from `count` on are 0.
static inline void load_pairs(const float* from, int64_t count, VecF* even, VecF* odd) {
  const VecF a = load_first(from, 2 * count < kLanes ? 2 * count : kLanes);
  const VecF b = 2 * count > kLanes ? load_first(from + kLanes, 2 * count - kLanes) : VecF{};
#if defined(__AVX512F__)
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  *even = (VecF)_mm512_permutex2var_ps((__m512)a, evens, (__m512)b);
  *odd = (VecF)_mm512_permutex2var_ps((__m512)a, _mm512_add_epi32(evens, _mm512_set1_epi32(1)), (__m512)b);
#elif defined(__AVX2__)
  const __m256 low = _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x20),
               high = _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x31);
  *even = (VecF)_mm256_shuffle_ps(low, high, 0x88);
  *odd = (VecF)_mm256_shuffle_ps(low, high, 0xdd);
#elif defined(__aarch64__)
  *even = (VecF)vuzp1q_f32((float32x4_t)a, (float32x4_t)b);
  *odd = (VecF)vuzp2q_f32((float32x4_t)a, (float32x4_t)b);
#else
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    (*even)[lane] = 2 * lane < kLanes ? a[2 * lane] : b[2 * lane - kLanes];
    (*odd)[lane] = 2 * lane < kLanes ? a[2 * lane + 1] : b[2 * lane + 1 - kLanes];
  }
#endif
}

// The lower and the upper half of the lanes in f64.
struct Halves {
  VecD low, high;
};

static inline Halves doubled(VecF v) {
#if defined(__AVX512F__)
  const __mmask8 all = static_cast<__mmask8>(-1);  // GCC 12 warns of the undefined operand of the forms without a mask
  return {(VecD)_mm512_maskz_cvtps_pd(all, _mm512_maskz_extractf32x8_ps(all, (__m512)v, 0)),
          (VecD)_mm512_maskz_cvtps_pd(all, _mm512_maskz_extractf32x8_ps(all, (__m512)v, 1))};
#elif defined(__AVX2__)
  return {(VecD)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v)), (VecD)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1))};
#elif defined(__aarch64__)
  return {(VecD)vcvt_f64_f32(vget_low_f32((float32x4_t)v)), (VecD)vcvt_high_f64_f32((float32x4_t)v)};
#else
  return {VecD{v[0], v[1]}, VecD{v[2], v[3]}};
#endif
}

// As many floats as VecD has lanes.
static inline VecD load_doubled(const float* from) {
#if defined(__AVX512F__)
  return (VecD)_mm512_maskz_cvtps_pd(static_cast<__mmask8>(-1), _mm256_loadu_ps(from));
#elif defined(__AVX2__)
  return (VecD)_mm256_cvtps_pd(_mm_loadu_ps(from));
#elif defined(__aarch64__)
  return (VecD)vcvt_f64_f32(vld1_f32(from));
#else
  return VecD{from[0], from[1]};
#endif
}

// Sums of f32 lanes in f64: nothing overflows, and nothing is lost beside a large term.
static inline void add_lanes(VecD* sum, VecF v) {
  const Halves wide = doubled(v);
  *sum += wide.low + wide.high;
}

static inline void add_products(VecD* sum, VecF a, VecF b) {
  const Halves x = doubled(a), y = doubled(b);
  *sum += x.low * y.low + x.high * y.high;
}

static inline double sum_lanes(VecD v) {
  double lanes[kLanes / 2];
  memcpy(lanes, &v, sizeof lanes);
  for (int64_t width = kLanes / 4; width > 0; width /= 2)
    for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

// A sum of f32 lanes in f64 for which few of them are widened: up to kHeldTogether are added in f32 first, each at a power of
// two of its size that lets none of these sums overflow.
constexpr int32_t kHeldTogether = 8;

struct HeldSum {
  VecF held;
  VecD total;

  static constexpr float kShare = 1.0f / (2 * kHeldTogether);

  void add(VecF v) { held = fma(v, splat(kShare), held); }
  void settle() {
    add_lanes(&total, held);
    held = VecF{};
  }
  double sum() const { return sum_lanes(total) / static_cast<double>(kShare); }
};

// e^x, e^x − 1 and e^x − 1 − x.
struct Exponential {
  VecF exp, expm1, excess;
};

// All three to 3 ulps or so, from one polynomial: below 0.34 no power of two is split off, so r is x and the differences from 1
// and from 1 + x are the polynomial without its first terms; above, the subtraction costs no more than a factor of 3 (of 6 for
// the excess). e^x as `exp` gives it: 0 below −104, +∞ above 88.8, NaN stays NaN.
static inline Exponential exponential(VecF x) {
  const VecF one = splat(1.0f);
  const VecF round_to_int = splat(12582912.0f);
  const Mask gone = below(x, splat(-104.0f));
  const VecF held = lesser(splat(89.0f), pick(gone, VecF{}, x));
  const VecF shifted = fma(held, splat(1.44269504088896341f), round_to_int);
  const VecF n = shifted - round_to_int;
  VecF r = fma(n, splat(-0.693359375f), held);
  r = fma(n, splat(2.12194440054690583e-4f), r);
  VecF q = splat(1.9875691500e-4f);
  q = fma(q, r, splat(1.3981999507e-3f));
  q = fma(q, r, splat(8.3334519073e-3f));
  q = fma(q, r, splat(4.1665795894e-2f));
  q = fma(q, r, splat(1.6666665459e-1f));
  q = fma(q, r, splat(5.0000001201e-1f));
  const VecF tail = q * (r * r);
  VecF e = fma(q, r * r, r + one);
#if defined(__AVX512F__)
  e = (VecF)_mm512_maskz_scalef_ps(static_cast<__mmask16>(-1), (__m512)e, (__m512)n);
#else
  const VecI exponent = (VecI)shifted - (VecI)round_to_int;
  const VecI half = exponent >> 1;
  e = e * (VecF)((half + splat_int(127)) << 23) * (VecF)((exponent - half + splat_int(127)) << 23);
#endif
  e = pick(gone, VecF{}, e);
  const Mask small = below(lanes_abs(x), splat(0.34f));
  const VecF expm1 = pick(small, tail + r, e - one);
  return {e, expm1, pick(small, tail, expm1 - x)};
}

// ln x of a normal x > 0, to 2 ulps or so: x = 2^k m with √½ ≤ m < √2, a polynomial of degree 9 in m − 1. NaN where x is not
// positive.
static inline VecF log(VecF x) {
  const VecI k = (VecI)((VecU)x - (VecU)splat_int(0x3f3504f3)) >> 23;  // wraps where x is not positive
  const VecF f = (VecF)((VecU)x - ((VecU)k << 23)) - splat(1.0f);
  const VecF n = __builtin_convertvector(k, VecF);
  const VecF square = f * f;
  VecF y = splat(7.0376836292e-2f);
  y = fma(y, f, splat(-1.1514610310e-1f));
  y = fma(y, f, splat(1.1676998740e-1f));
  y = fma(y, f, splat(-1.2420140846e-1f));
  y = fma(y, f, splat(1.4249322787e-1f));
  y = fma(y, f, splat(-1.6668057665e-1f));
  y = fma(y, f, splat(2.0000714765e-1f));
  y = fma(y, f, splat(-2.4999993993e-1f));
  y = fma(y, f, splat(3.3333331174e-1f));
  y = y * f * square;
  y = fma(n, splat(-2.12194440e-4f), y);
  y = fma(square, splat(-0.5f), y);
  return x > VecF{} ? fma(n, splat(0.693359375f), f + y) : splat(NAN);
}

#endif
