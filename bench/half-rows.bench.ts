/** Rows of bf16 logits: half the bytes of f32. The gradient's rounding to bf16 is checked by the tests, not here. */

import { bf16 } from "../src/ops/ops.ts";
import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { bf16Normals, evenOffsets, integers, normals } from "./inputs.ts";
import { heads, type Head } from "./shapes.ts";

const headWork = {
  sizes: heads,
  reduced: { name: "reduced", rows: 9, vocabulary: 1031 },
  shape: ({ rows, vocabulary }: Head) => `[${rows}, ${vocabulary}]`,
  variant: "bf16",
  dtype: "bf16",
};

const rowsOf = ({ rows, vocabulary }: Head) => ({
  logits: bf16(bf16Normals(1, rows * vocabulary, 2)),
  targetOffsets: evenOffsets(rows, 1),
  targets: integers(2, rows, vocabulary),
});

const forward: Work<Head> = {
  ...headWork,
  op: "logprobs",
  cost: ({ rows, vocabulary }) => ({ readBytes: 2 * rows * vocabulary, writtenBytes: 8 * rows, flops: 0 }),
  build(size, make) {
    const args = { ...rowsOf(size), lse: make.filled(size.rows), logprobs: make.filled(size.rows) };
    return { run: (ops) => ops.logprobs(args), outcome: () => ({ lse: args.lse, logprobs: args.logprobs }) };
  },
  torch: ({ rows, vocabulary }) => ({ subject: "logprobs_bf16", shape: { rows, vocabulary } }),
};

const update: Work<Head> = {
  ...headWork,
  op: "policyUpdate.clip",
  cost: ({ rows, vocabulary }) => ({
    readBytes: 2 * rows * vocabulary,
    writtenBytes: 2 * rows * vocabulary,
    flops: 0,
  }),
  build(size, make) {
    const { rows, vocabulary } = size;
    const written = { lse: make.filled(rows), logprobs: make.filled(rows), dlogprobs: make.filled(rows) };
    const args = {
      ...rowsOf(size),
      oldLogprobs: normals(3, rows, 0.1).map((x) => x - Math.log(vocabulary)),
      advantages: Float32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? 0.75 : 0)),
      weights: new Float32Array(rows).fill(1 / rows),
      epsLow: 0.2,
      epsHigh: 0.28,
      dlogits: bf16(new Uint16Array(rows * vocabulary)),
      ...written,
    };
    return { run: (ops) => ops.policyUpdate.clip(args), outcome: () => written };
  },
};

export const halfRowsBench = [...subjects(forward), ...subjects(update)];
