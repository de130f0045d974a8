/** Ops on arrays of targets: the clipped loss, and step credits to targets. */

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

const clip: Work<Flat> = {
  ...flatWork,
  op: "policyLoss.clip",
  cost: ({ count }) => ({ readBytes: 20 * count, writtenBytes: 4 * count, flops: 0 }),
  build({ count }, make) {
    const oldLogprobs = normals(1, count).map((x) => -Math.abs(x));
    const moved = normals(2, count, 0.1);
    const advantages = new Float32Array(2 * count);
    normals(3, count).forEach((advantage, n) => (advantages[2 * n + (advantage < 0 ? 1 : 0)] = advantage));
    const args = {
      oldLogprobs,
      logprobs: oldLogprobs.map((logprob, n) => logprob + moved[n]),
      advantages,
      weights: new Float32Array(count).fill(1 / count),
      epsLow: 0.2,
      epsHigh: 0.28,
      dlogprobs: make.filled(count),
    };
    return {
      run: (ops) => ops.policyLoss.clip(args),
      runPlain: () => plain.policyLossClip(args),
      outcome: () => ({ dlogprobs: args.dlogprobs }),
    };
  },
  torch: ({ count }) => ({ subject: "policy_loss", shape: { count } }),
};

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

export const policyLossBench = [...subjects(clip), ...subjects(scatter), ...subjects(scatterBackward)];
