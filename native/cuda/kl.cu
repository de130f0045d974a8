// kl: the estimators of policy_loss.cuh without a loss around them.

#include "launch.cuh"
#include "policy_loss.cuh"
#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) kl_of_targets(KlArgs args) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= args.N) return;
  Value term = kl_term(args.kind, args.logprobs[n], args.ref_logprobs[n], args.log_ratio_clamp, args.value_clamp);
  if (args.dkl) {
    const float dkl = args.dkl[n];
    term.slope = dkl == 0.0f ? 0.0f : saturated(dkl * term.slope);
  }
  args.kl[n] = term.value;
  args.dlogprobs[n] = term.slope;
}

}  // namespace

int32_t kl(const KlArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const unsigned blocks = static_cast<unsigned>((args->N + kThreads - 1) / kThreads);
  if (blocks > 0) launch(kl_of_targets, {blocks, kThreads}, queue.stream, *args);
  return launched(&queue, "kl", error);
}

}  // namespace gpu
