import type {
  Floats,
  LogprobsInputs,
  Ops,
  PolicyLossResult,
  PolicyUpdateArguments,
  PolicyUpdateOps,
  PolicyUpdateResult,
  ReinforceArguments,
  Values,
} from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { output } from "./arithmetic.ts";
import { countedTargets } from "./logit-rows.ts";
import { logprobsReference } from "./logprobs.ts";
import { lossReference } from "./loss.ts";

/** A fused update is its three ops in a row; what flows between them keeps the precision being modelled. */
export function updateReference(round: Round): Pick<Ops, "policyUpdate"> {
  const rowOps = logprobsReference(round);
  const { policyLoss } = lossReference(round);
  const updates = Object.entries(policyLoss).map(([name, loss]: [string, Loss]) => [
    name,
    (args: PolicyUpdateArguments<ReinforceArguments, Values>) => update(rowOps, loss, args, round),
  ]);
  return { policyUpdate: Object.fromEntries(updates) as PolicyUpdateOps };
}

type Loss = (args: ReinforceArguments) => PolicyLossResult;

function update(
  { logprobs: forward, logprobsBackward }: Pick<Ops, "logprobs" | "logprobsBackward">,
  loss: Loss,
  args: PolicyUpdateArguments<ReinforceArguments, Values>,
  round: Round,
): PolicyUpdateResult<Values> {
  const { targetOffsets, entropyWeights } = args;
  const row = rowsOf(args);
  const lse = new Float64Array(targetOffsets.length - 1);
  const entropy = new Float64Array(targetOffsets.length - 1);
  const { logprobs } = forward({ ...row, lse, entropy });
  const { dlogprobs: _out, ...settings } = args;
  const { dlogprobs, metrics } = loss({ ...settings, logprobs, weights: countedWeights(args) });
  const owned = (t: number) => countedTargets(args, t).length > 0;
  const dentropy = entropyWeights?.map((weight, t) => (weight === 0 || !owned(t) ? 0 : -weight));
  const dlogits = logprobsBackward({
    ...row,
    lse,
    entropy,
    dlogprobs,
    ...(dentropy && { dentropy }),
    ...(args.dlogits && { dlogits: args.dlogits }),
  });
  let total = metrics.loss; // the entropy term is part of what is minimised
  dentropy?.forEach((d, t) => {
    if (d !== 0) total += round(d * entropy[t]);
  });
  return {
    dlogits,
    metrics: { ...metrics, loss: total },
    dlogprobs: store(dlogprobs, args.dlogprobs),
    logprobs: store(logprobs, args.logprobs),
    lse: store(lse, args.lse, owned),
    ...(args.entropy && { entropy: store(entropy, args.entropy, owned) }),
  };
}

/** What `logprobs` takes of the arguments of an update. */
function rowsOf<L extends Values>(args: LogprobsInputs<L>): LogprobsInputs<L> {
  const { logits, targetOffsets, targets, ignoreIndex, temperature, logitScale, softcap, keep } = args;
  return {
    logits,
    targetOffsets,
    targets,
    ...(ignoreIndex !== undefined && { ignoreIndex }),
    ...(temperature !== undefined && { temperature }),
    ...(logitScale !== undefined && { logitScale }),
    ...(softcap !== undefined && { softcap }),
    ...(keep && { keep }),
  };
}

/** The weights, 0 at ignored targets. */
function countedWeights({ weights, targets, ignoreIndex }: PolicyUpdateArguments<ReinforceArguments, Values>): Floats {
  return weights.map((weight, n) => (targets[n] === ignoreIndex ? 0 : weight));
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
