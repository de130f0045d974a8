/** The loss of a value head and the KL estimate: on arrays of targets. */

import type { Make } from "../test/support/cases/op-case.ts";
import { valueArguments } from "../test/support/cases/loss-family.ts";
import type { Subject, Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { normals } from "./inputs.ts";
import { targetCounts, type Flat } from "./shapes.ts";

const flatWork = {
  sizes: targetCounts,
  reduced: { name: "reduced", count: 5000 },
  shape: ({ count }: Flat) => `[${count}]`,
};

const valueLoss: Work<Flat> = {
  ...flatWork,
  op: "valueLoss",
  cost: ({ count }) => ({ readBytes: 16 * count, writtenBytes: 4 * count, flops: 0 }),
  build({ count }, make: Make) {
    const args = { ...valueArguments(count), dvalues: make.filled(count) };
    return { run: (ops) => ops.valueLoss(args), outcome: () => ({ dvalues: args.dvalues }) };
  },
};

const kl: Work<Flat> = {
  ...flatWork,
  op: "kl",
  cost: ({ count }) => ({ readBytes: 8 * count, writtenBytes: 8 * count, flops: 0 }),
  build({ count }, make) {
    const logprobs = normals(1, count).map((x) => -Math.abs(x));
    const moved = normals(2, count, 0.1);
    const refLogprobs = logprobs.map((logprob, n) => logprob + moved[n]);
    const written = { kl: make.filled(count), dlogprobs: make.filled(count) };
    return { run: (ops) => ops.kl({ logprobs, refLogprobs, estimator: "k3", ...written }), outcome: () => written };
  },
};

export const valueLossBench: readonly Subject[] = [valueLoss, kl].flatMap((work) => subjects(work));
