// grad_norm, adamw.

#include <stdlib.h>

#include "cpu.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"

namespace SC_ISA {

namespace {

constexpr int64_t kBlock = 16384;

// Half a vector of floats, and as many doubles.
typedef float HalfF __attribute__((vector_size(SC_VECTOR_BYTES / 2)));
typedef double VecD __attribute__((vector_size(SC_VECTOR_BYTES)));
constexpr int64_t kHalfLanes = kLanes / 2;
constexpr int64_t kSums = 4;  // chains of additions that are under way at once

double sum_of_squares(const float* x, int64_t count) {
  VecD sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kHalfLanes <= count; i += kSums * kHalfLanes) {
    for (int64_t u = 0; u < kSums; ++u) {
      HalfF half;
      memcpy(&half, x + i + u * kHalfLanes, sizeof half);
      const VecD wide = __builtin_convertvector(half, VecD);
      sums[u] += wide * wide;
    }
  }
  double rest = 0.0;
  for (; i < count; ++i) rest += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const VecD lanes = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double sum = 0.0;
  for (int64_t lane = 0; lane < kHalfLanes; ++lane) sum += lanes[lane];
  return sum + rest;
}

}  // namespace

int32_t grad_norm(const GradNormArgs* args, ScStream, ScError* error) {
  const int64_t blocks = (args->count + kBlock - 1) / kBlock;
  double* partial = static_cast<double*>(malloc(sizeof(double) * static_cast<size_t>(blocks + 1)));
  if (!partial) return fail(error, "no memory for the partial sums");
  parallel_chunks(blocks, [&](int64_t block) {
    const int64_t begin = block * kBlock, end = begin + kBlock < args->count ? begin + kBlock : args->count;
    partial[block] = sum_of_squares(args->grads + begin, end - begin);
  });
  double sum = 0.0;
  for (int64_t block = 0; block < blocks; ++block) sum += partial[block];
  free(partial);
  args->norm[0] = sqrt(sum);
  return 0;
}

int32_t adamw(const AdamwArgs* args, ScStream, ScError*) {
  const double correction1 = 1.0 - pow(args->beta1, static_cast<double>(args->step));
  const double correction2 = 1.0 - pow(args->beta2, static_cast<double>(args->step));
  const VecF beta1 = splat(static_cast<float>(args->beta1)), rest1 = splat(static_cast<float>(1.0 - args->beta1));
  const VecF beta2 = splat(static_cast<float>(args->beta2)), rest2 = splat(static_cast<float>(1.0 - args->beta2));
  const VecF rate = splat(static_cast<float>(args->lr / correction1));
  const VecF root = splat(static_cast<float>(1.0 / sqrt(correction2)));
  const VecF eps = splat(static_cast<float>(args->eps)), scale = splat(static_cast<float>(args->grad_scale));
  const VecF decay = splat(static_cast<float>(args->lr * args->weight_decay));
  parallel_blocks(args->count, kBlock, [&](int64_t begin, int64_t end) {
    auto step = [&](int64_t i, auto load_lanes, auto store_lanes) {
      const VecF g = load_lanes(args->grads + i) * scale;
      const VecF m = beta1 * load_lanes(args->m + i) + rest1 * g;
      const VecF v = beta2 * load_lanes(args->v + i) + rest2 * g * g;
      VecF p = load_lanes(args->params + i);
      p = p - decay * p - rate * m / (sqrt(v) * root + eps);
      store_lanes(args->params + i, p);
      store_lanes(args->m + i, m);
      store_lanes(args->v + i, v);
    };
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      step(
          i, [](const float* from) { return load(from); }, [](float* to, VecF x) { store(to, x); });
    }
    const int64_t lanes = end - i;
    if (lanes > 0) {
      step(
          i, [&](const float* from) { return load_part(from, lanes, 0.0f); },
          [&](float* to, VecF x) { store_part(to, x, lanes); });
    }
  });
  return 0;
}

}  // namespace SC_ISA
