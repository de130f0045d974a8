/** From credits to a better policy: clipped policy-gradient steps on trees that carry credit. */

import { creditedTokens, minibatches, pack, partsOf, type Batch } from "./batch.ts";
import type { Optimizer } from "./optimizer.ts";
import type { PlacedOps } from "./ops/device-ops.ts";
import type { Floats, LossSettings, PolicyLossMetrics } from "./ops/ops.ts";
import type { Policy, Reference } from "./policy.ts";
import { measureLogprobs } from "./reference.ts";
import type { Supervision, Tree } from "./trajectory/index.ts";

/** The settings of a penalty on the distance to a reference. */
export type KlPenalty = NonNullable<LossSettings["kl"]>;

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
  /**
   * A penalty on the distance to a reference, of every token with credit, once per solution that gave some, and divided like
   * the surrogate. Default none.
   */
  readonly kl?: KlPenalty;
}

/** Means over the steps of an update, `clipFraction`, `approxKl` and `kl` over all of their targets; 0 where nothing had credit. */
export interface UpdateMetrics {
  /** steps of the optimizer */
  readonly steps: number;
  /** packed positions that went through the policy, old log-probs included, those of the reference not */
  readonly positions: number;
  readonly loss: number;
  /** share of targets whose clipped branch is the larger loss */
  readonly clipFraction: number;
  /** mean of (ratio − 1) − log ratio: the k3 estimate of KL(old ‖ new) */
  readonly approxKl: number;
  /** mean of the estimate of KL(policy ‖ reference), before its coefficient; where the configuration has a penalty */
  readonly kl?: number;
  /** largest |ratio − 1| of the first step, before which the policy has not moved: what sampling and training disagree by */
  readonly firstRatioError: number;
  /** entropy of the policy at the positions with credit, nats, mean over the steps */
  readonly entropy: number;
  /** before clipping, mean over the steps */
  readonly gradNorm: number;
}

/**
 * Updates the policy on trees with their supervisions. Old log-probs are measured by the policy itself before its first step,
 * for all targets alike, whoever wrote them. Each step's loss is divided by the number of tokens with credit of its batch.
 *
 * @param random uniform in [0, 1); shuffles the trees of every epoch
 * @param reference measured once, before the first step; needed with `kl`
 * @throws TypeError for `kl` without a reference
 */
export function update(
  policy: Policy,
  optimizer: Optimizer,
  trees: readonly Tree[],
  supervisions: readonly Supervision[],
  config: UpdateConfig,
  random: () => number,
  reference?: Reference,
): UpdateMetrics {
  const { ops } = policy;
  const { kl } = config;
  if (kl !== undefined && reference === undefined) {
    throw new TypeError("update: expected a reference with kl, received none");
  }
  const total = { steps: 0, positions: 0, loss: 0, entropy: 0, gradNorm: 0, firstRatioError: 0 };
  const sums = { count: 0, clipped: 0, approxKl: 0, kl: 0 };
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
  const referred = new Map<Tree, Floats>();
  const measured: PackedTrees[] = [];
  for (const packed of passes()) {
    keep(old, packed, measureLogprobs(policy, packed.batch));
    if (kl !== undefined) measured.push(packed);
  }
  reference
    ?.logprobs(measured.map(({ batch }) => batch))
    .forEach((logprobs, i) => keep(referred, measured[i], logprobs));

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
        ...(kl && { kl, refLogprobs: concatenate(ops, packed, referred), ...perSolution(batch) }),
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
    approxKl: sums.approxKl / perTarget,
    ...(kl && { kl: sums.kl / perTarget }),
    firstRatioError: total.firstRatioError,
    entropy: total.entropy / perStep,
    gradNorm: total.gradNorm / perStep,
  };
}

/**
 * Under these a target's KL counts once per solution that gave it credit, as if the trees were unrolled; the surrogate, whose
 * credits are sums over these solutions already, counts as before. So does a target without credit, whose `stepOf` is −1.
 */
export function perSolution({ contributions, stepOf, weights }: Pick<Batch, "contributions" | "stepOf" | "weights">): {
  weights: Floats;
  multipliers: Floats;
} {
  const solutions = (n: number): number => (stepOf[n] < 0 ? 1 : Math.max(1, contributions[stepOf[n]]));
  return {
    weights: weights.map((weight, n) => weight * solutions(n)),
    multipliers: weights.map((_, n) => 1 / solutions(n)),
  };
}

interface Sums {
  count: number;
  clipped: number;
  approxKl: number;
  kl: number;
}

function addMetrics(sums: Sums, metrics: PolicyLossMetrics): void {
  sums.count += metrics.count;
  sums.clipped += metrics.clipFraction * metrics.count;
  sums.approxKl += metrics.approxKl * metrics.count;
  sums.kl += metrics.kl * metrics.count;
}

interface PackedTrees {
  readonly trees: readonly Tree[];
  readonly batch: Batch;
}

/** Keeps the log-probs of a batch by the trees that they belong to. */
function keep(kept: Map<Tree, Floats>, { trees, batch }: PackedTrees, logprobs: Floats): void {
  splitByTree(batch).forEach(({ start, end }, p) => kept.set(trees[p], logprobs.slice(start, end)));
}

/** The targets of each tree of a batch: half-open ranges of n. Trees begin at depth 0. */
function splitByTree(batch: Batch): { start: number; end: number }[] {
  const starts: number[] = [];
  batch.depth.forEach((depth, t) => {
    if (depth === 0) starts.push(batch.targetOffsets[t]);
  });
  return starts.map((start, p) => ({ start, end: starts[p + 1] ?? batch.targets.length }));
}

/** The kept log-probs of a batch of these trees. */
function concatenate(ops: PlacedOps, trees: readonly Tree[], kept: ReadonlyMap<Tree, Floats>): Floats {
  const parts = trees.map((tree) => kept.get(tree) ?? ops.allocate(0));
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
