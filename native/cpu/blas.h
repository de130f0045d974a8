// The one door to CBLAS. Where the build found none, or it was switched off, available() is false and nothing else is called.

#ifndef STEPCREDIT_CPU_BLAS_H
#define STEPCREDIT_CPU_BLAS_H

#include <stdint.h>

// Whether products go to BLAS: compiled in, and not switched off by STEPCREDIT_BLAS=off.
bool sc_blas_enabled();

namespace {

// A weight with a side shorter than this goes to the portable product, which is as fast there or faster, forward and backward:
// BLAS spends more on its own packing than it gains. Measured with OpenBLAS 0.3.21.
constexpr int64_t kBlasSide = 256;

inline bool by_blas(int64_t I, int64_t O, int32_t portable) {
  return !portable && I >= kBlasSide && O >= kBlasSide && sc_blas_enabled();
}

}  // namespace

// "OpenBLAS 0.3.21 …", "Accelerate", or null where none was compiled in.
const char* sc_blas_name();

// C [M, N] = A' [M, K] · B' [K, N] + beta · C, row-major, where A' is A or its transpose (stored [K, M]), B' likewise (stored
// [N, K]). Runs on the calling thread alone.
void sc_sgemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const float* A, int64_t lda, const float* B,
              int64_t ldb, float beta, float* C, int64_t ldc);

#endif
