#include "dispatch.h"

extern "C" {
const ScBackend* sc_cpu_backend_generic();
#if defined(__x86_64__)
const ScBackend* sc_cpu_backend_avx2();
const ScBackend* sc_cpu_backend_avx512();
#elif defined(__aarch64__)
const ScBackend* sc_cpu_backend_neon();
#endif
}

const ScBackend* const* sc_cpu_backends() {
  struct Usable {
    const ScBackend* of[4] = {};
  };
  static const Usable usable = [] {
    Usable found;
    int count = 0;
#if defined(__x86_64__)
    // Every flag the sources were compiled with, f16c too: there are processors with AVX2 and without it.
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512) found.of[count++] = sc_cpu_backend_avx512();
    if (avx2) found.of[count++] = sc_cpu_backend_avx2();
#elif defined(__aarch64__)
    found.of[count++] = sc_cpu_backend_neon();
#endif
    found.of[count++] = sc_cpu_backend_generic();
    return found;
  }();
  return usable.of;
}
