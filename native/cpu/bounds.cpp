#include "bounds.h"

#include "parallel.h"

namespace {

// Values that a worker takes at a time, and values that are compared without a branch between them.
constexpr int64_t kShare = 65536;
constexpr int64_t kBlock = 1024;

__attribute__((always_inline)) inline bool any_outside_in(const int32_t* values, int64_t count, int32_t least, int32_t most) {
  int32_t outside = 0;
  for (int64_t i = 0; i < count; ++i) outside |= (values[i] < least) | (values[i] > most);
  return outside != 0;
}

bool any_outside(const int32_t* values, int64_t count, int32_t least, int32_t most) {
  return any_outside_in(values, count, least, most);
}

#if defined(__x86_64__)
// The same with the vectors that most processors have: the baseline's take longer than the memory does.
__attribute__((target("avx2"))) bool any_outside_wide(const int32_t* values, int64_t count, int32_t least, int32_t most) {
  return any_outside_in(values, count, least, most);
}

bool is_wide() {
  static const bool wide = [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0;
  }();
  return wide;
}
#endif

int64_t first_in(const int32_t* values, int64_t begin, int64_t end, int32_t least, int32_t most) {
  bool (*any)(const int32_t*, int64_t, int32_t, int32_t) = any_outside;
#if defined(__x86_64__)
  if (is_wide()) any = any_outside_wide;
#endif
  for (; begin < end; begin += kBlock) {
    const int64_t count = end - begin < kBlock ? end - begin : kBlock;
    if (!any(values + begin, count, least, most)) continue;
    for (int64_t i = begin; i < begin + count; ++i)
      if (values[i] < least || values[i] > most) return i;
  }
  return -1;
}

}  // namespace

int64_t sc_first_outside(const int32_t* values, int64_t count, int32_t least, int32_t most) {
  int64_t first = count;
  parallel_blocks(count, kShare, [&](int64_t begin, int64_t end) {
    const int64_t found = first_in(values, begin, end, least, most);
    if (found < 0) return;
    int64_t known = __atomic_load_n(&first, __ATOMIC_RELAXED);
    while (found < known && !__atomic_compare_exchange_n(&first, &known, found, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
  });
  return first < count ? first : -1;
}
