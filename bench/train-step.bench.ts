/**
 * A whole step of training: forward, clipped loss, backward, clipping by the global norm, AdamW.
 *
 * Where rollouts share their beginning, the floor is the time of the same rollouts unshared times the share of tokens that
 * are left: the ratio to it says how far the cost follows the unique tokens.
 */

import { pack, type Batch } from "../src/batch.ts";
import type { PlacedOps } from "../src/ops/device-ops.ts";
import type { Ops } from "../src/ops/ops.ts";
import { AdamW, type Optimizer } from "../src/optimizer.ts";
import { TransformerPolicy } from "../src/policies/transformer.ts";
import { createTree, graft, type Tree } from "../src/trajectory/index.ts";
import { randomArrays } from "../test/support/arrays.ts";
import { random } from "../test/support/random.ts";
import type { Instance, Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { normals } from "./inputs.ts";
import { matrixWeights, trainings, uniqueTokens, type Rollouts, type Training } from "./shapes.ts";

const maxGradNorm = 1;

const trainStep: Work<Training> = {
  op: "trainStep",
  sizes: trainings,
  reduced: {
    name: "reduced",
    policy: { vocabulary: 11, hidden: 16, layers: 2, heads: 2, intermediate: 24 },
    problems: 2,
    rollouts: { name: "reduced", branches: 3, length: 9, shared: 5 },
  },
  shape: ({ policy, problems, rollouts }) =>
    `${policy.layers} layers of ${policy.hidden}, V ${policy.vocabulary}, ${problems * rollouts.branches} x ${rollouts.length}` +
    (rollouts.branches > 1 ? `, ${rollouts.branches} share ${rollouts.shared}` : ""),
  cost: (size) => ({ readBytes: 0, writtenBytes: 0, flops: matrixFlops(size) }),
  build,
  floor: unsharedFloor,
  torch({ policy, problems, rollouts }) {
    const sequences = problems * rollouts.branches;
    return { subject: "train_step", shape: { sequences, length: rollouts.length, ...policy } };
  },
};

/** Of the matrix products: two operations per weight and token, three times over for forward and backward. */
const matrixFlops = ({ policy, problems, rollouts }: Training): number =>
  6 * matrixWeights(policy) * problems * uniqueTokens(rollouts);

function build({ policy: config, problems, rollouts }: Training): Instance {
  const batch = batchOf(problems, rollouts, config.vocabulary);
  const N = batch.targets.length;
  const loss = {
    oldLogprobs: new Float32Array(N).fill(-Math.log(config.vocabulary)),
    advantages: normals(2, 2 * N).map((x, i) => (i % 2 === 0 ? Math.abs(x) : 0)),
    weights: new Float32Array(N).fill(1 / N),
    epsLow: 0.2,
    epsHigh: 0.28,
  };
  const optimizer = new Recorder();
  let policy: TransformerPolicy | undefined;
  let logprobs: ArrayLike<number> = [];
  return {
    run(ops: Ops) {
      policy ??= TransformerPolicy.create({ ...config, maxPositions: rollouts.length }, { random: random(3) }, { ops });
      const { logits, backward } = policy.forward(batch);
      const { targetOffsets, targets } = batch;
      ({ logprobs } = policy.ops.policyUpdate.clip({ logits, dlogits: logits, targetOffsets, targets, ...loss }));
      backward(logits);
      policy.step(optimizer);
    },
    outcome: () => ({ logprobs: Float32Array.from(logprobs), grads: optimizer.grads }),
  };
}

/** AdamW that remembers the gradient of its first step, before it is cleared. */
class Recorder implements Optimizer {
  readonly #adamw = new AdamW({ lr: 1e-6, maxGradNorm });
  grads = new Float32Array(0);

  step(ops: PlacedOps, params: Float32Array, grads: Float32Array): number {
    if (this.#adamw.steps === 0) this.grads = grads.slice();
    return this.#adamw.step(ops, params, grads);
  }
}

function batchOf(problems: number, rollouts: Rollouts, vocabulary: number): Batch {
  const draw = randomArrays(1);
  const tokens = (count: number): number[] => [...draw.integers(count, vocabulary)];
  const trees = Array.from({ length: problems }, (_, p): Tree => {
    const { branches, length } = rollouts;
    const shared = Math.max(rollouts.shared, 1);
    const tree = createTree({ id: String(p), prompt: tokens(1) });
    const beginning = shared > 1 ? [tokens(shared - 1)] : [];
    for (let b = 0; b < branches; b++) {
      graft(tree, 0, [...beginning, tokens(length - shared)], { source: "recorded" });
    }
    return tree;
  });
  return pack(trees);
}

/** The same rollouts unshared, times the share of tokens that sharing leaves; none where nothing is shared. */
function unsharedFloor(size: Training): { readonly instance: Instance; readonly factor: number } | undefined {
  const { branches, length, shared } = size.rollouts;
  if (shared === 0) return undefined;
  const single = { name: "1", branches: 1, length, shared: 0 };
  const instance = build({ ...size, problems: size.problems * branches, rollouts: single });
  return { instance, factor: uniqueTokens(size.rollouts) / (branches * length) };
}

export const trainStepBench = subjects(trainStep);
