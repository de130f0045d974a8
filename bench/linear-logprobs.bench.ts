/** linearLogprobs and its backward. The floor is the bare matrix products by OpenBLAS, which hold the logits: one of them, or three. */

import { openOps } from "../src/ops/native.ts";
import type { Make } from "../test/support/cases/op-case.ts";
import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { evenOffsets, integers, normals } from "./inputs.ts";
import { fusedHeads, type FusedHead } from "./shapes.ts";

const rowsPerPass = 256; // the weight is read once per block of rows

function headOf({ rows, hidden, vocabulary }: FusedHead) {
  return {
    hidden: normals(1, rows * hidden),
    weight: normals(2, vocabulary * hidden, 2 / Math.sqrt(hidden)),
    targetOffsets: evenOffsets(rows, 1),
    targets: integers(3, rows, vocabulary),
  };
}

const productShape = ({ rows, hidden, vocabulary }: FusedHead) => ({ rows, inputs: hidden, outputs: vocabulary });

const headWork = {
  sizes: fusedHeads,
  // More than one slab of columns, and weights that go to BLAS where there is one.
  reduced: { name: "reduced", rows: 5, hidden: 16, vocabulary: 4200 },
  shape: ({ rows, hidden, vocabulary }: FusedHead) => `[${rows}, ${hidden}] x [${hidden}, ${vocabulary}]`,
  portablePeer: true,
};

const forward: Work<FusedHead> = {
  ...headWork,
  op: "linearLogprobs",
  cost: ({ rows, hidden, vocabulary }) => ({
    readBytes: 4 * (rows * hidden + Math.ceil(rows / rowsPerPass) * vocabulary * hidden),
    writtenBytes: 8 * rows,
    flops: 2 * rows * hidden * vocabulary,
  }),
  build(size, make: Make) {
    const args = { ...headOf(size), lse: make.filled(size.rows), logprobs: make.filled(size.rows) };
    return {
      run: (ops) => ops.linearLogprobs(args),
      outcome: () => ({ lse: args.lse, logprobs: args.logprobs }),
    };
  },
  floor: (size) => ({ subject: "linear", shape: productShape(size) }),
};

const backward: Work<FusedHead> = {
  ...headWork,
  op: "linearLogprobsBackward",
  cost: ({ rows, hidden, vocabulary }) => ({
    readBytes: 4 * (rows * hidden + 3 * Math.ceil(rows / rowsPerPass) * vocabulary * hidden),
    writtenBytes: 4 * (rows * hidden + Math.ceil(rows / rowsPerPass) * vocabulary * hidden),
    flops: 6 * rows * hidden * vocabulary,
  }),
  build(size, make) {
    const head = headOf(size);
    const saved = { lse: new Float32Array(size.rows), logprobs: new Float32Array(size.rows) };
    openOps("cpu").linearLogprobs({ ...head, ...saved });
    const args = {
      ...head,
      ...saved,
      dlogprobs: normals(4, size.rows),
      dhidden: make.filled(size.rows * size.hidden),
      dweight: make.filled(size.vocabulary * size.hidden, 0),
    };
    return {
      run: (ops) => ops.linearLogprobsBackward(args),
      outcome: () => ({ dhidden: args.dhidden, dweight: args.dweight }),
    };
  },
  floor: (size) => ({ subject: "linear_logprobs_backward", shape: productShape(size) }),
};

export const linearLogprobsBench = [...subjects(forward), ...subjects(backward)];
