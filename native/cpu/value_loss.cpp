// value_loss.

#include <float.h>
#include <math.h>

#include "cpu.h"
#include "loss_sums.h"

namespace SC_ISA {

int32_t value_loss(const ValueLossArgs* args, ScStream, ScError* error) {
  const int64_t chunks = (args->N + kTargetBlock - 1) / kTargetBlock;
  double* partial = static_cast<double*>(calloc(static_cast<size_t>(chunks * kValueLossMetrics + 1), sizeof(double)));
  if (!partial) return out_of_memory(error, "value_loss: no memory for the partial sums");
  parallel_blocks(args->N, kTargetBlock, [&](int64_t begin, int64_t end) {
    double* sums = partial + begin / kTargetBlock * kValueLossMetrics;
    for (int64_t n = begin; n < end; ++n) {
      const float weight = args->weights[n];
      args->dvalues[n] = 0.0f;
      if (weight == 0.0f) continue;
      const float value = args->values[n];
      float error_of_value = value - args->returns[n];
      float slope = error_of_value;
      if (args->clip < INFINITY) {
        const float low = args->old_values[n] - args->clip, high = args->old_values[n] + args->clip;
        const float held = (value < low ? low : value > high ? high : value) - args->returns[n];
        if (fabsf(held) > fabsf(error_of_value)) {
          error_of_value = held;
          slope = 0.0f;  // only a value outside its bounds has a larger clipped error
          sums[kValueClipped] += 1.0;
        }
      }
      const float squared = error_of_value * error_of_value;
      sums[kValueLoss] += 0.5 * static_cast<double>(weight) * static_cast<double>(squared > FLT_MAX ? FLT_MAX : squared);
      sums[kValueCount] += 1.0;
      args->dvalues[n] = weight * slope;
    }
  });
  for (int metric = 0; metric < kValueLossMetrics; ++metric) {
    args->metrics[metric] = 0.0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) args->metrics[metric] += partial[chunk * kValueLossMetrics + metric];
  }
  free(partial);
  return 0;
}

}  // namespace SC_ISA
