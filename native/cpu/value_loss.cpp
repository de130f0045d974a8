// value_loss.

#include <math.h>

#include "cpu.h"
#include "loss_sums.h"
#include "simd_loss.h"

namespace SC_ISA {

namespace {

struct ValueSums {
  LaneCount count, clipped;
  VecD loss;
};

// Up to kLanes targets from n on.
void value_loss_group(const ValueLossArgs& args, int64_t n, int64_t count, ValueSums* sums) {
  const VecF weight = load_first(args.weights + n, count);
  const Mask present = differs(weight, VecF{});
  const auto of = [&](const float* values) { return where(present, load_first(values + n, count)); };
  const VecF value = of(args.values), target = of(args.returns);
  const VecF plain = value - target;
  VecF larger = plain;
  Mask clipped = {};
  if (args.clip < INFINITY) {
    const VecF old = of(args.old_values), low = old - splat(args.clip), high = old + splat(args.clip);
    const VecF held = held_between(low, high, value) - target;
    clipped = present & above(lanes_abs(held), lanes_abs(plain));  // only a value outside its bounds: then it has no slope
    larger = pick(clipped, held, plain);
  }
  sums->count.add(present);
  sums->clipped.add(clipped);
  add_products(&sums->loss, splat(0.5f) * weight, where(present, saturated(larger * larger)));
  store_first(args.dvalues + n, where(present & ~clipped, saturated(weight * plain)), count);
}

}  // namespace

int32_t value_loss(const ValueLossArgs* args, ScStream, ScError* error) {
  const int64_t chunks = (args->N + kTargetBlock - 1) / kTargetBlock;
  double* partial = static_cast<double*>(calloc(static_cast<size_t>(chunks * kValueLossMetrics + 1), sizeof(double)));
  if (!partial) return out_of_memory(error, "value_loss: no memory for the partial sums");
  parallel_blocks(args->N, kTargetBlock, [&](int64_t begin, int64_t end) {
    ValueSums lanes = {};
    for (int64_t n = begin; n < end; n += kLanes)
      value_loss_group(*args, n, end - n < kLanes ? end - n : static_cast<int64_t>(kLanes), &lanes);
    double* sums = partial + begin / kTargetBlock * kValueLossMetrics;
    sums[kValueLoss] = sum_lanes(lanes.loss);
    sums[kValueCount] = static_cast<double>(lanes.count.sum());
    sums[kValueClipped] = static_cast<double>(lanes.clipped.sum());
  });
  for (int metric = 0; metric < kValueLossMetrics; ++metric) {
    args->metrics[metric] = 0.0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) args->metrics[metric] += partial[chunk * kValueLossMetrics + metric];
  }
  free(partial);
  return 0;
}

}  // namespace SC_ISA
