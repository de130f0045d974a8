// grad_norm, adamw.

#include <stdlib.h>

#include "cpu.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"

namespace SC_ISA {

namespace {

constexpr int64_t kBlock = 16384;

inline VecF square_root(VecF x) {
  for (int64_t lane = 0; lane < kLanes; ++lane) x[lane] = sqrtf(x[lane]);
  return x;
}

}  // namespace

int32_t grad_norm(const GradNormArgs* args, ScStream, ScError* error) {
  const int64_t blocks = (args->count + kBlock - 1) / kBlock;
  double* partial = static_cast<double*>(malloc(sizeof(double) * static_cast<size_t>(blocks + 1)));
  if (!partial) return fail(error, "no memory for the partial sums");
  parallel_chunks(blocks, [&](int64_t block) {
    const int64_t begin = block * kBlock, end = begin + kBlock < args->count ? begin + kBlock : args->count;
    double sums[4] = {};
    int64_t i = begin;
    for (; i + 4 <= end; i += 4)
      for (int64_t u = 0; u < 4; ++u)
        sums[u] += static_cast<double>(args->grads[i + u]) * static_cast<double>(args->grads[i + u]);
    for (; i < end; ++i) sums[0] += static_cast<double>(args->grads[i]) * static_cast<double>(args->grads[i]);
    partial[block] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
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
  auto step = [&](VecF g, VecF& p, VecF& m, VecF& v) {
    g = g * scale;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    p = p - decay * p - rate * m / (square_root(v) * root + eps);
  };
  parallel_blocks(args->count, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t lanes = end - i < kLanes ? end - i : kLanes;
      const bool whole = lanes == kLanes;
      const VecF g = whole ? load(args->grads + i) : load_part(args->grads + i, lanes, 0.0f);
      VecF p = whole ? load(args->params + i) : load_part(args->params + i, lanes, 0.0f);
      VecF m = whole ? load(args->m + i) : load_part(args->m + i, lanes, 0.0f);
      VecF v = whole ? load(args->v + i) : load_part(args->v + i, lanes, 0.0f);
      step(g, p, m, v);
      store_part(args->params + i, p, lanes);
      store_part(args->m + i, m, lanes);
      store_part(args->v + i, v, lanes);
    }
  });
  return 0;
}

}  // namespace SC_ISA
