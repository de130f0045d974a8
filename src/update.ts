/** From credits to a better policy: clipped policy-gradient steps on trees that carry credit. */

import { creditedTokens, minibatches, pack, partsOf, type Batch } from "./batch.ts";
import type { Optimizer } from "./optimizer.ts";
import type { Floats, Ops, PolicyLossMetrics } from "./ops/ops.ts";
import type { Policy } from "./policy.ts";
import type { Supervision, Tree } from "./trajectory/index.ts";

export interface UpdateConfig {
  /** passes over the trees */
  readonly epochs: number;
  /** leaves with credit per step of the optimizer, about */
  readonly rowsPerBatch: number;
  /**
   * Tokens that go through the policy at a time, in whole trees: the passes of a batch add up to its gradient, in less memory.
   * Default and 0: a batch is one pass.
   */
  readonly positionsPerPass?: number;
  readonly epsLow: number;
  readonly epsHigh: number;
}

/** Means over the steps of an update, `clipFraction` and `approxKl` over all of their targets; 0 where nothing had credit. */
export interface UpdateMetrics {
  /** steps of the optimizer */
  readonly steps: number;
  /** packed positions that went through the policy, old log-probs included */
  readonly positions: number;
  readonly loss: number;
  /** share of targets whose clipped branch is the larger loss */
  readonly clipFraction: number;
  /** mean of (ratio − 1) − log ratio: the k3 estimate of KL(old ‖ new) */
  readonly approxKl: number;
  /** largest |ratio − 1| of the first step, before which the policy has not moved: what sampling and training disagree by */
  readonly firstRatioError: number;
  /** entropy of the policy at the positions with credit, nats, mean over the steps */
  readonly entropy: number;
  /** before clipping, mean over the steps */
  readonly gradNorm: number;
}

/** The log-probs of a batch's targets under the policy as it is, `[N]` in nats. */
export function measureLogprobs(policy: Policy, batch: Batch): Floats {
  const { targetOffsets, targets } = batch;
  const logprobs = policy.ops.allocate(targets.length);
  policy.ops.logprobs({ logits: policy.forward(batch).logits, targetOffsets, targets, logprobs });
  return logprobs;
}

/**
 * Updates the policy on trees with their supervisions. Old log-probs are measured by the policy itself before its first step,
 * for all targets alike, whoever wrote them. Each step's loss is divided by the number of tokens with credit of its batch.
 *
 * @param random uniform in [0, 1); shuffles the trees of every epoch
 */
export function update(
  policy: Policy,
  optimizer: Optimizer,
  trees: readonly Tree[],
  supervisions: readonly Supervision[],
  config: UpdateConfig,
  random: () => number,
): UpdateMetrics {
  const { ops } = policy;
  const total = { steps: 0, positions: 0, loss: 0, entropy: 0, gradNorm: 0, firstRatioError: 0 };
  const sums = { count: 0, clipped: 0, kl: 0 };
  const rows = { count: 0, entropy: 0 };

  const positions = config.positionsPerPass || Infinity;
  /** Each part of each minibatch, packed; `last` where its gradient completes the minibatch's. */
  function* passes() {
    for (const group of minibatches(trees, supervisions, config.rowsPerBatch, random)) {
      const whole = creditedTokens(group.supervisions);
      const parts = partsOf(group, positions);
      for (const part of parts) {
        const batch = pack(part.trees, part.supervisions, { prune: true, creditedTokens: whole });
        total.positions += batch.tokens.length;
        yield { trees: part.trees, batch, last: part === parts[parts.length - 1] };
      }
    }
  }

  const old = new Map<Tree, Floats>();
  for (const { trees: packed, batch } of passes()) {
    const logprobs = measureLogprobs(policy, batch);
    splitByTree(batch).forEach(({ start, end }, p) => old.set(packed[p], logprobs.slice(start, end)));
  }

  for (let epoch = 0; epoch < config.epochs; epoch++) {
    for (const { trees: packed, batch, last } of passes()) {
      const { targetOffsets, targets, stepCredits, stepOf, weights } = batch;
      const oldLogprobs = concatenate(ops, packed, old);
      const pass = policy.forward(batch);
      const ratios = ops.allocate(targets.length);
      const result = ops.policyUpdate.clip({
        logits: pass.logits,
        dlogits: pass.logits,
        targetOffsets,
        targets,
        oldLogprobs,
        advantages: ops.scatterAdvantages({ stepCredits, stepOf }),
        weights,
        epsLow: config.epsLow,
        epsHigh: config.epsHigh,
        entropy: true,
        ratios,
      });
      pass.backward(pass.logits);
      if (total.steps === 0) {
        total.firstRatioError = Math.max(total.firstRatioError, largestError(ratios, weights));
      }
      total.loss += result.metrics.loss;
      addMetrics(sums, result.metrics);
      addEntropy(rows, result.entropy, targetOffsets);
      if (!last) continue;
      total.gradNorm += policy.step(optimizer);
      total.steps++;
      total.entropy += rows.entropy / Math.max(1, rows.count);
      rows.entropy = rows.count = 0;
    }
  }
  const perStep = Math.max(1, total.steps);
  const perTarget = Math.max(1, sums.count);
  return {
    steps: total.steps,
    positions: total.positions,
    loss: total.loss / perStep,
    clipFraction: sums.clipped / perTarget,
    approxKl: sums.kl / perTarget,
    firstRatioError: total.firstRatioError,
    entropy: total.entropy / perStep,
    gradNorm: total.gradNorm / perStep,
  };
}

function addMetrics(sums: { count: number; clipped: number; kl: number }, metrics: PolicyLossMetrics): void {
  sums.count += metrics.count;
  sums.clipped += metrics.clipFraction * metrics.count;
  sums.kl += metrics.approxKl * metrics.count;
}

/** The targets of each tree of a batch: half-open ranges of n. Trees begin at depth 0. */
function splitByTree(batch: Batch): { start: number; end: number }[] {
  const starts: number[] = [];
  batch.depth.forEach((depth, t) => {
    if (depth === 0) starts.push(batch.targetOffsets[t]);
  });
  return starts.map((start, p) => ({ start, end: starts[p + 1] ?? batch.targets.length }));
}

/** The old log-probs of a batch of these trees. */
function concatenate(ops: Ops, trees: readonly Tree[], old: ReadonlyMap<Tree, Floats>): Floats {
  const parts = trees.map((tree) => old.get(tree) ?? ops.allocate(0));
  const whole = ops.allocate(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

function largestError(ratios: Floats, weights: Floats): number {
  let most = 0;
  weights.forEach((weight, n) => {
    if (weight !== 0) most = Math.max(most, Math.abs(ratios[n] - 1));
  });
  return most;
}

/** Of the rows that predict something. */
function addEntropy(
  rows: { count: number; entropy: number },
  values: ArrayLike<number> | undefined,
  targetOffsets: Int32Array,
): void {
  if (values === undefined) return;
  for (let t = 0; t < values.length; t++) {
    if (targetOffsets[t] === targetOffsets[t + 1]) continue;
    rows.entropy += values[t];
    rows.count++;
  }
}
