#include "blas.h"

#include <stdlib.h>
#include <string.h>

#if defined(SC_HAVE_ACCELERATE)
#include <Accelerate/Accelerate.h>
#elif defined(SC_HAVE_CBLAS)
#include <cblas.h>
// OpenBLAS only; absent from other libraries behind the same interface.
extern "C" __attribute__((weak)) void openblas_set_num_threads(int);
extern "C" __attribute__((weak)) char* openblas_get_config(void);
#endif

bool sc_blas_enabled() {
  static const bool enabled = [] {
    const char* wanted = getenv("STEPCREDIT_BLAS");
    return sc_blas_name() != nullptr && !(wanted && strcmp(wanted, "off") == 0);
  }();
  return enabled;
}

const char* sc_blas_name() {
#if defined(SC_HAVE_ACCELERATE)
  return "Accelerate";
#elif defined(SC_HAVE_CBLAS)
  return openblas_get_config ? openblas_get_config() : "CBLAS";
#else
  return nullptr;
#endif
}

void sc_sgemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const float* A, int64_t lda, const float* B,
              int64_t ldb, float beta, float* C, int64_t ldc) {
#if defined(SC_HAVE_ACCELERATE) || defined(SC_HAVE_CBLAS)
#if defined(SC_HAVE_CBLAS)
  // Our own threads call it on pieces; its threads would only compete with them.
  static const bool single = [] {
    if (openblas_set_num_threads) openblas_set_num_threads(1);
    return true;
  }();
  (void)single;
#endif
  cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
              static_cast<int>(M), static_cast<int>(N), static_cast<int>(K), 1.0f, A, static_cast<int>(lda), B,
              static_cast<int>(ldb), beta, C, static_cast<int>(ldc));
#else
  (void)transpose_a, (void)transpose_b, (void)M, (void)N, (void)K, (void)A, (void)lda, (void)B, (void)ldb, (void)beta, (void)C,
      (void)ldc;
#endif
}
