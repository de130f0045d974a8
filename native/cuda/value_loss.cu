// value_loss.

#include "policy_loss.cuh"
#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

__device__ void value_loss_of_target(const ValueLossArgs& args, int64_t n, ValueSums* sums) {
  const float weight = args.weights[n];
  if (weight == 0.0f) {
    args.dvalues[n] = 0.0f;
    return;
  }
  const float value = args.values[n], target = args.returns[n], plain = value - target;
  float larger = plain;
  bool clipped = false;
  if (args.clip < INFINITY) {
    const float old = args.old_values[n];
    const float held = held_between(old - args.clip, old + args.clip, value) - target;
    clipped = fabsf(held) > fabsf(plain);  // only a value outside its bounds: then it has no slope
    if (clipped) larger = held;
  }
  sums->of[kValueCount] += 1.0;
  sums->of[kValueClipped] += clipped ? 1.0 : 0.0;
  sums->of[kValueLoss] += static_cast<double>(0.5f * weight) * static_cast<double>(saturated(larger * larger));
  args.dvalues[n] = clipped ? 0.0f : saturated(weight * plain);
}

__global__ void __launch_bounds__(kLossThreads) value_loss_of_targets(ValueLossArgs args, ValueSums* partial) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTargetBlock + threadIdx.x;
  ValueSums sums = {};
  for (int i = 0; i < kThreadTargets; ++i)
    if (first + i * kLossThreads < args.N) value_loss_of_target(args, first + i * kLossThreads, &sums);
  keep_sums(sums, blockIdx.x, partial);
}

}  // namespace

int32_t value_loss(const ValueLossArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t blocks = target_blocks(args->N);
  ValueSums* const partial =
      static_cast<ValueSums*>(scratch(&queue, static_cast<size_t>(blocks + 1) * sizeof(ValueSums), "value_loss", error));
  if (!partial) return 1;
  if (blocks > 0) launch(value_loss_of_targets, {static_cast<unsigned>(blocks), kLossThreads}, queue.stream, *args, partial);
  enqueue_sum(partial, blocks, args->metrics, queue.stream);
  return launched(&queue, "value_loss", error);
}

}  // namespace gpu
