// grad_norm, adamw. Four numbers at a time where the arrays lie at 16 bytes; which thread takes which does not depend on it.

#include <math.h>

#include "block.cuh"
#include "launch.cuh"
#include "quad.cuh"
#include "queue.cuh"
#include "table.cuh"
#include "unroll.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlock = 16384;  // gradients that one block of threads sums

// partial[b] = Σ of the b-th kBlock squares: every thread in the order of its quads, then over the threads.
__global__ void sum_squares(const float* grads, int64_t count, bool wide, double* partial) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kBlock;
  double sums[kQuad] = {};
  for (int64_t i = begin + threadIdx.x * kQuad; i < begin + kBlock && i < count; i += kThreads * kQuad) {
    const Quad g = load_quad(grads + i, count - i, wide);
    SC_UNROLL
    for (int q = 0; q < kQuad; ++q) sums[q] = fma(static_cast<double>(g.of[q]), static_cast<double>(g.of[q]), sums[q]);
  }
  const double sum = reduce_block<kThreads>((sums[0] + sums[1]) + (sums[2] + sums[3]), Add{});
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void root_of_sum(const double* partial, int64_t blocks, double* norm) {
  double sum = 0.0;
  for (int64_t b = threadIdx.x; b < blocks; b += kThreads) sum += partial[b];
  sum = reduce_block<kThreads>(sum, Add{});
  if (threadIdx.x == 0) norm[0] = sqrt(sum);
}

// The numbers of a step of adamw, of which all parameters have the same.
struct Step {
  float beta1, rest1, beta2, rest2;
  float rate;  // lr / (1 − β₁^step)
  float root;  // 1 / √(1 − β₂^step)
  float eps;
  float scale;  // of the gradients
  float decay;  // lr · weight_decay
};

Step step_of(const AdamwArgs& args) {
  const double correction1 = 1.0 - pow(args.beta1, static_cast<double>(args.step));
  const double correction2 = 1.0 - pow(args.beta2, static_cast<double>(args.step));
  const auto rounded = [](double x) { return static_cast<float>(x); };
  return {rounded(args.beta1),       rounded(1.0 - args.beta1),      rounded(args.beta2),
          rounded(1.0 - args.beta2), rounded(args.lr / correction1), rounded(1.0 / sqrt(correction2)),
          rounded(args.eps),         rounded(args.grad_scale),       rounded(args.lr * args.weight_decay)};
}

__global__ void step_parameters(AdamwArgs args, Step step, bool wide) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kQuad, count = args.count - i;
  if (count <= 0) return;
  const Quad g = load_quad(args.grads + i, count, wide);
  Quad m = load_quad(args.m + i, count, wide), v = load_quad(args.v + i, count, wide);
  Quad p = load_quad(args.params + i, count, wide);
  SC_UNROLL
  for (int q = 0; q < kQuad; ++q) {
    const float slope = g.of[q] * step.scale;
    m.of[q] = step.beta1 * m.of[q] + step.rest1 * slope;
    v.of[q] = step.beta2 * v.of[q] + step.rest2 * slope * slope;
    p.of[q] = p.of[q] - step.decay * p.of[q] - step.rate * m.of[q] / (sqrtf(v.of[q]) * step.root + step.eps);
  }
  store_quad(args.params + i, p, count, wide);
  store_quad(args.m + i, m, count, wide);
  store_quad(args.v + i, v, count, wide);
}

}  // namespace

int32_t grad_norm(const GradNormArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t blocks = blocks_of(args->count, kBlock);
  double* const partial =
      static_cast<double*>(scratch(&queue, static_cast<size_t>(blocks + 1) * sizeof(double), "grad_norm", error));
  if (!partial) return 1;
  if (blocks > 0)
    launch(sum_squares, {static_cast<unsigned>(blocks), kThreads}, queue.stream, args->grads, args->count,
           lies_in_quads(args->grads, kQuad), partial);
  launch(root_of_sum, {1, kThreads}, queue.stream, partial, blocks, args->norm);
  return launched(&queue, "grad_norm", error);
}

int32_t adamw(const AdamwArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const bool wide = lies_in_quads(args->grads, kQuad) && lies_in_quads(args->params, kQuad) && lies_in_quads(args->m, kQuad) &&
                    lies_in_quads(args->v, kQuad);
  if (args->count > 0)
    launch(step_parameters, {static_cast<unsigned>(blocks_of(args->count, kThreads * kQuad)), kThreads}, queue.stream, *args,
           step_of(*args), wide);
  return launched(&queue, "adamw", error);
}

}  // namespace gpu
