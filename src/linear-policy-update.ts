/**
 * From hidden states to the gradients of a linear head and of the states below it, for any policy loss, without ever holding
 * logits [T, V]: `linearLogprobs`, a loss, `linearLogprobsBackward`. Memory beside inputs and outputs is that of these ops and a
 * few numbers per target and row.
 */
import type { Floats, LinearLogprobsInputs, Ops, PolicyLossMetrics } from "./ops/ops.ts";

/** What a loss makes of log-probs: a result of any op in `policyLoss`, or a sum of several. */
export interface HeadLoss<Metrics> {
  /** `[N]` ∂loss/∂logprobs */
  readonly dlogprobs: Floats;
  /** `[T]` ∂loss/∂entropy, where the loss knows the entropies */
  readonly dentropy?: Floats;
  readonly metrics: Metrics;
}

export interface LinearPolicyUpdateArguments extends LinearLogprobsInputs {
  /** `[T]` adds −Σ entropyWeights · entropy to the loss */
  readonly entropyWeights?: Floats;
  /** `[T, H]` overwritten */
  readonly dhidden?: Floats;
  /** `[V, H]` added to */
  readonly dweight?: Floats;
  /** `[V]` added to */
  readonly dbias?: Floats;
}

export interface LinearPolicyUpdateResult<Metrics> {
  /** `[N]` */
  readonly logprobs: Floats;
  /** `[T]` 0 in rows without targets */
  readonly entropy: Floats;
  /** `[N]` */
  readonly dlogprobs: Floats;
  /** those of the loss; `loss` with the entropy term, as it is minimised */
  readonly metrics: Metrics;
}

/**
 * Writes `dhidden`, adds to `dweight` and `dbias`. For example
 *
 *   linearPolicyUpdate(ops, { hidden, weight, targetOffsets, targets, dhidden, dweight },
 *     (logprobs) => ops.policyLoss.clip({ logprobs, oldLogprobs, advantages, weights, epsLow: 0.2, epsHigh: 0.28 }));
 *
 * @param lossOf from `logprobs [N]` and `entropy [T]`, which it must not change
 * @throws what the ops throw; a RangeError where `entropyWeights` is not `[T]`
 */
export function linearPolicyUpdate<Metrics extends Pick<PolicyLossMetrics, "loss"> = PolicyLossMetrics>(
  ops: Ops,
  args: LinearPolicyUpdateArguments,
  lossOf: (logprobs: Floats, entropy: Floats) => HeadLoss<Metrics>,
): LinearPolicyUpdateResult<Metrics> {
  const { entropyWeights, dhidden, dweight, dbias, ...head } = args;
  const [T, N] = [head.targetOffsets.length - 1, head.targets.length];
  if (entropyWeights !== undefined && entropyWeights.length !== T) {
    throw new RangeError(
      `linearPolicyUpdate: expected entropyWeights [T] of length ${T}, received ${entropyWeights.length}`,
    );
  }
  const [lse, entropy, logprobs] = [ops.allocate(T), ops.allocate(T), ops.allocate(N)];
  ops.linearLogprobs({ ...head, lse, entropy, logprobs });
  const { dlogprobs, dentropy: ofLoss, metrics } = lossOf(logprobs, entropy);

  let loss = metrics.loss;
  const dentropy = ofLoss === undefined && entropyWeights === undefined ? undefined : ops.allocate(T);
  if (dentropy !== undefined) {
    if (ofLoss !== undefined) dentropy.set(ofLoss);
    entropyWeights?.forEach((weight, t) => {
      if (weight === 0 || head.targetOffsets[t] === head.targetOffsets[t + 1]) return;
      dentropy[t] -= weight;
      loss -= weight * entropy[t];
    });
  }
  ops.linearLogprobsBackward({
    ...head,
    lse,
    logprobs,
    entropy,
    dlogprobs,
    ...(dentropy && { dentropy }),
    ...(dhidden && { dhidden }),
    ...(dweight && { dweight }),
    ...(dbias && { dbias }),
  });
  return { logprobs, entropy, dlogprobs, metrics: { ...metrics, loss } };
}
