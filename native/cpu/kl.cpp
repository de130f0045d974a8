// kl: the estimators of policy_loss.h without a loss around them.

#include "cpu.h"
#include "policy_loss.h"

namespace SC_ISA {

int32_t kl(const KlArgs* args, ScStream, ScError*) {
  parallel_blocks(args->N, kTargetBlock, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n += kLanes) {
      const int64_t count = end - n < kLanes ? end - n : static_cast<int64_t>(kLanes);
      const VecF logprob = load_first(args->logprobs + n, count), ref_logprob = load_first(args->ref_logprobs + n, count);
      Value term = kl_term(args->kind, logprob, ref_logprob, args->log_ratio_clamp, args->value_clamp);
      if (args->dkl) {
        const VecF dkl = load_first(args->dkl + n, count);
        term.slope = where(differs(dkl, VecF{}), saturated(dkl * term.slope));
      }
      store_first(args->kl + n, term.value, count);
      store_first(args->dlogprobs + n, term.slope, count);
    }
  });
  return 0;
}

}  // namespace SC_ISA
