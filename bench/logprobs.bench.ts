/** logprobs and its backward: one target per row. */

import type { Make } from "../test/support/cases/op-case.ts";
import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { evenOffsets, integers, normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { heads, type Head } from "./shapes.ts";

const headWork = {
  sizes: heads,
  reduced: { name: "reduced", rows: 9, vocabulary: 1031 },
  shape: ({ rows, vocabulary }: Head) => `[${rows}, ${vocabulary}]`,
};

function rowsOf({ rows, vocabulary }: Head) {
  return {
    logits: normals(1, rows * vocabulary, 2),
    targetOffsets: evenOffsets(rows, 1),
    targets: integers(2, rows, vocabulary),
  };
}

const forward: Work<Head> = {
  ...headWork,
  op: "logprobs",
  cost: ({ rows, vocabulary }) => ({ readBytes: 4 * rows * vocabulary, writtenBytes: 8 * rows, flops: 0 }),
  build(size, make: Make) {
    const args = { ...rowsOf(size), lse: make.filled(size.rows), logprobs: make.filled(size.rows) };
    return {
      run: (ops) => ops.logprobs(args),
      runPlain: () => plain.logprobs(args),
      onnx: () => ({ ...size, logits: args.logits, targets: args.targets }),
      outcome: () => ({ lse: args.lse, logprobs: args.logprobs }),
    };
  },
  torch: ({ rows, vocabulary }) => ({ subject: "logprobs", shape: { rows, vocabulary } }),
};

const backward: Work<Head> = {
  ...headWork,
  op: "logprobsBackward",
  cost: ({ rows, vocabulary }) => ({
    readBytes: 4 * rows * vocabulary,
    writtenBytes: 4 * rows * vocabulary,
    flops: 0,
  }),
  build(size, make) {
    const rows = rowsOf(size);
    const lse = make.filled(size.rows);
    plain.logprobs({ ...rows, lse, logprobs: make.filled(size.rows) });
    const args = {
      ...rows,
      lse: Float32Array.from(lse),
      dlogprobs: normals(3, size.rows),
      dlogits: make.filled(rows.logits.length),
    };
    return {
      run: (ops) => ops.logprobsBackward(args),
      runPlain: () => plain.logprobsBackward(args),
      outcome: () => ({ dlogits: args.dlogits }),
    };
  },
  torch: ({ rows, vocabulary }) => ({ subject: "logprobs_backward", shape: { rows, vocabulary } }),
};

export const logprobsBench = [...subjects(forward), ...subjects(backward)];
