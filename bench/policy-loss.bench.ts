/** Ops on arrays of targets: the forms of the policy loss, and step credits to targets. */

import type { Ops } from "../src/ops/ops.ts";
import type { Make } from "../test/support/cases/op-case.ts";
import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { targetCounts, type Flat } from "./shapes.ts";

const flatWork = {
  sizes: targetCounts,
  reduced: { name: "reduced", count: 5000 },
  shape: ({ count }: Flat) => `[${count}]`,
};

/** Targets of which each has one sign of advantage, and sequences of 512. */
function targets({ count }: Flat, make: Make) {
  const oldLogprobs = normals(1, count).map((x) => -Math.abs(x));
  const moved = normals(2, count, 0.1);
  const advantages = new Float32Array(2 * count);
  normals(3, count).forEach((advantage, n) => (advantages[2 * n + (advantage < 0 ? 1 : 0)] = advantage));
  return {
    oldLogprobs,
    logprobs: oldLogprobs.map((logprob, n) => logprob + moved[n]),
    advantages,
    weights: new Float32Array(count).fill(1 / count),
    sequenceOffsets: Int32Array.from({ length: Math.ceil(count / 512) + 1 }, (_, b) => Math.min(512 * b, count)),
    dlogprobs: make.filled(count),
  };
}

const clip: Work<Flat> = {
  ...flatWork,
  op: "policyLoss.clip",
  cost: ({ count }) => ({ readBytes: 20 * count, writtenBytes: 4 * count, flops: 0 }),
  build(size, make) {
    const args = { ...targets(size, make), epsLow: 0.2, epsHigh: 0.28 };
    return {
      run: (ops) => ops.policyLoss.clip(args),
      runPlain: () => plain.policyLossClip(args),
      outcome: () => ({ dlogprobs: args.dlogprobs }),
    };
  },
  torch: ({ count }) => ({ subject: "policy_loss", shape: { count } }),
};

type Targets = ReturnType<typeof targets>;

const runs: readonly (readonly [keyof Ops["policyLoss"], (ops: Ops, args: Targets) => void])[] = [
  ["sequenceClip", (ops, args) => ops.policyLoss.sequenceClip({ ...args, epsLow: 0.03, epsHigh: 0.04 })],
  ["gspoToken", (ops, args) => ops.policyLoss.gspoToken({ ...args, epsLow: 0.03, epsHigh: 0.04 })],
  ["cispo", (ops, args) => ops.policyLoss.cispo({ ...args, ratioMax: 2 })],
  ["sapo", (ops, args) => ops.policyLoss.sapo({ ...args, tauPositive: 1, tauNegative: 1.05 })],
  ["reinforce", (ops, args) => ops.policyLoss.reinforce(args)],
  ["dppoTv", (ops, args) => ops.policyLoss.dppoTv({ ...args, epsLow: 0.1, epsHigh: 0.1 })],
  ["dppoKl", (ops, args) => ops.policyLoss.dppoKl({ ...args, epsLow: 0.05, epsHigh: 0.05 })],
  ["gmpo", (ops, args) => ops.policyLoss.gmpo({ ...args, epsLow: 0.4, epsHigh: 0.4 })],
  [
    "vespo",
    (ops, args) => ops.policyLoss.vespo({ ...args, kPositive: 2, lambdaPositive: 3, kNegative: 3, lambdaNegative: 2 }),
  ],
];

const forms = runs.map(([form, run]): Work<Flat> => ({
  ...flatWork,
  op: `policyLoss.${form}`,
  cost: ({ count }) => ({ readBytes: 20 * count, writtenBytes: 4 * count, flops: 0 }),
  build(size, make) {
    const args = targets(size, make);
    return {
      run: (ops) => {
        run(ops, args);
      },
      outcome: () => ({ dlogprobs: args.dlogprobs }),
    };
  },
}));

const targetsPerStep = 16;

const scatter: Work<Flat> = {
  ...flatWork,
  op: "scatterAdvantages",
  cost: ({ count }) => ({
    readBytes: 4 * count + (8 * count) / targetsPerStep,
    writtenBytes: 8 * count,
    flops: 0,
  }),
  build({ count }, make) {
    const steps = Math.ceil(count / targetsPerStep);
    const stepCredits = normals(1, 2 * steps);
    const stepOf = Int32Array.from({ length: count }, (_, n) => Math.floor(n / targetsPerStep));
    const advantages = make.filled(2 * count);
    return {
      run: (ops) => ops.scatterAdvantages({ stepCredits, stepOf, advantages }),
      runPlain: () => plain.scatterAdvantages(stepCredits, stepOf, advantages),
      outcome: () => ({ advantages }),
    };
  },
  torch: ({ count }) => ({
    subject: "scatter_advantages",
    shape: { count, steps: Math.ceil(count / targetsPerStep) },
  }),
};

const scatterBackward: Work<Flat> = {
  ...flatWork,
  op: "scatterAdvantagesBackward",
  cost: ({ count }) => ({
    readBytes: 12 * count,
    writtenBytes: (8 * count) / targetsPerStep,
    flops: 0,
  }),
  build({ count }, make) {
    const steps = Math.ceil(count / targetsPerStep);
    const dadvantages = normals(1, 2 * count);
    const stepOf = Int32Array.from({ length: count }, (_, n) => Math.floor(n / targetsPerStep));
    const dstepCredits = make.filled(2 * steps);
    return {
      run: (ops) => ops.scatterAdvantagesBackward({ dadvantages, stepOf, steps, dstepCredits }),
      outcome: () => ({ dstepCredits }),
    };
  },
};

export const policyLossBench = [
  ...subjects(clip),
  ...forms.flatMap(subjects),
  ...subjects(scatter),
  ...subjects(scatterBackward),
];
