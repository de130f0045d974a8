// Transposing rows into vectors that run over them.

#ifndef STEPCREDIT_CPU_TRANSPOSE_H
#define STEPCREDIT_CPU_TRANSPOSE_H

#include "simd.h"

namespace {

// Four numbers of each of the kLanes rows `from`, from column d on: to[i · stride + lane] = from[lane][d + i].
#if defined(__AVX512F__)
inline __m512 quarters(const float* a, const float* b, const float* c, const float* d) {
  const __m512 ab = _mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(a)), _mm_loadu_ps(b), 1);
  return _mm512_insertf32x4(_mm512_insertf32x4(ab, _mm_loadu_ps(c), 2), _mm_loadu_ps(d), 3);
}
// The forms with a mask of ones: GCC 12 takes the undefined source operand of the plain ones for a mistake of ours.
inline __m512 low_pairs(__m512 a, __m512 b) { return _mm512_maskz_unpacklo_ps(0xFFFF, a, b); }
inline __m512 high_pairs(__m512 a, __m512 b) { return _mm512_maskz_unpackhi_ps(0xFFFF, a, b); }
inline void transpose_four(const float* const* from, int64_t d, float* to, int64_t stride) {
  __m512 row[4];
  for (int k = 0; k < 4; ++k) row[k] = quarters(from[k] + d, from[4 + k] + d, from[8 + k] + d, from[12 + k] + d);
  const __m512 ab_low = low_pairs(row[0], row[1]), ab_high = high_pairs(row[0], row[1]);
  const __m512 cd_low = low_pairs(row[2], row[3]), cd_high = high_pairs(row[2], row[3]);
  _mm512_storeu_ps(to, _mm512_maskz_shuffle_ps(0xFFFF, ab_low, cd_low, 0x44));
  _mm512_storeu_ps(to + stride, _mm512_maskz_shuffle_ps(0xFFFF, ab_low, cd_low, 0xEE));
  _mm512_storeu_ps(to + 2 * stride, _mm512_maskz_shuffle_ps(0xFFFF, ab_high, cd_high, 0x44));
  _mm512_storeu_ps(to + 3 * stride, _mm512_maskz_shuffle_ps(0xFFFF, ab_high, cd_high, 0xEE));
}
#elif defined(__AVX2__)
inline __m256 halves(const float* a, const float* b) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(a)), _mm_loadu_ps(b), 1);
}
inline void transpose_four(const float* const* from, int64_t d, float* to, int64_t stride) {
  __m256 row[4];
  for (int k = 0; k < 4; ++k) row[k] = halves(from[k] + d, from[4 + k] + d);
  const __m256 ab_low = _mm256_unpacklo_ps(row[0], row[1]), ab_high = _mm256_unpackhi_ps(row[0], row[1]);
  const __m256 cd_low = _mm256_unpacklo_ps(row[2], row[3]), cd_high = _mm256_unpackhi_ps(row[2], row[3]);
  _mm256_storeu_ps(to, _mm256_shuffle_ps(ab_low, cd_low, 0x44));
  _mm256_storeu_ps(to + stride, _mm256_shuffle_ps(ab_low, cd_low, 0xEE));
  _mm256_storeu_ps(to + 2 * stride, _mm256_shuffle_ps(ab_high, cd_high, 0x44));
  _mm256_storeu_ps(to + 3 * stride, _mm256_shuffle_ps(ab_high, cd_high, 0xEE));
}
#else
inline void transpose_four(const float* const* from, int64_t d, float* to, int64_t stride) {
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t lane = 0; lane < kLanes; ++lane) to[i * stride + lane] = from[lane][d + i];
}
#endif

}  // namespace

#endif
