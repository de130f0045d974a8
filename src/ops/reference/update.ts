import type { Ops, PolicyUpdateArguments, PolicyUpdateResult } from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { output } from "./arithmetic.ts";
import { logprobsReference } from "./logprobs.ts";
import { lossReference } from "./loss.ts";

/** The fused update is its three ops in a row; what flows between them keeps the precision being modelled. */
export function updateReference(round: Round): Pick<Ops, "policyUpdate"> {
  const { logprobs: forward, logprobsBackward } = logprobsReference(round);
  const { policyLoss } = lossReference(round);
  return {
    policyUpdate: {
      clip(args: PolicyUpdateArguments): PolicyUpdateResult {
        const { logits, targetOffsets, targets, entropyWeights } = args;
        const row = { logits, targetOffsets, targets, temperature: args.temperature ?? 1 };
        const lse = new Float64Array(targetOffsets.length - 1);
        const entropy = new Float64Array(targetOffsets.length - 1);
        const { logprobs } = forward({ ...row, lse, entropy });
        const { dlogprobs: _out, ...settings } = args;
        const { dlogprobs, metrics } = policyLoss.clip({ ...settings, logprobs });
        const dentropy = entropyWeights?.map((weight) => (weight === 0 ? 0 : -weight));
        const dlogits = logprobsBackward({
          ...row,
          lse,
          entropy,
          dlogprobs,
          ...(dentropy && { dentropy }),
          ...(args.dlogits && { dlogits: args.dlogits }),
        });
        let loss = metrics.loss; // the entropy term is part of what is minimised
        dentropy?.forEach((d, t) => {
          if (d !== 0) loss += round(d * entropy[t]);
        });
        const owned = (t: number) => targetOffsets[t] < targetOffsets[t + 1];
        return {
          dlogits,
          metrics: { ...metrics, loss },
          dlogprobs: store(dlogprobs, args.dlogprobs),
          logprobs: store(logprobs, args.logprobs),
          lse: store(lse, args.lse, owned),
          ...(args.entropy && { entropy: store(entropy, args.entropy, owned) }),
        };
      },
    },
  };
}

/** Copies the values, or those at the indices that were written, into the output that was passed. */
function store(
  values: PolicyUpdateResult["lse"],
  given: PolicyUpdateResult["lse"] | true | undefined,
  written = (_index: number) => true,
) {
  const out = output(given, values.length);
  values.forEach((value, index) => {
    if (written(index)) out[index] = value;
  });
  return out;
}
