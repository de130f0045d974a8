/**
 * linear and its backward. The floor is the bare products by OpenBLAS; the portable product is timed beside it. A weight of the
 * small policy of the training step, which never goes to BLAS, and one of a model of half a billion.
 */

import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { layers, smallLayer, type Layer } from "./shapes.ts";

const linearWork = {
  sizes: [...layers, smallLayer],
  // Weights of this size go to BLAS where there is one.
  reduced: { name: "reduced", rows: 5, hidden: 256, wide: 300, heads: 1, kvHeads: 1, headSize: 1 },
  shape: ({ rows, hidden, wide }: Layer) => `[${rows}, ${hidden}] x [${hidden}, ${wide}]`,
  portablePeer: true,
};

const forward: Work<Layer> = {
  ...linearWork,
  op: "linear",
  cost: ({ rows, hidden, wide }) => ({
    readBytes: 4 * (rows * hidden + hidden * wide),
    writtenBytes: 4 * rows * wide,
    flops: 2 * rows * hidden * wide,
  }),
  build({ rows, hidden, wide }, make) {
    const args = {
      x: normals(1, rows * hidden),
      weight: normals(2, wide * hidden, 1 / Math.sqrt(hidden)),
      y: make.filled(rows * wide),
      rows,
    };
    return {
      run: (ops) => ops.linear(args),
      runPlain: () => plain.linear(args),
      outcome: () => ({ y: args.y }),
    };
  },
  floor: ({ rows, hidden, wide }) => ({ subject: "linear", shape: { rows, inputs: hidden, outputs: wide } }),
  torch: ({ rows, hidden, wide }) => ({ subject: "linear", shape: { rows, inputs: hidden, outputs: wide } }),
};

const backward: Work<Layer> = {
  ...linearWork,
  op: "linearBackward",
  cost: ({ rows, hidden, wide }) => ({
    readBytes: 4 * (rows * hidden + 2 * hidden * wide + rows * wide),
    writtenBytes: 4 * (rows * hidden + hidden * wide),
    flops: 4 * rows * hidden * wide,
  }),
  build({ rows, hidden, wide }, make) {
    const args = {
      x: normals(1, rows * hidden),
      weight: normals(2, wide * hidden, 1 / Math.sqrt(hidden)),
      dy: normals(3, rows * wide),
      rows,
      dx: make.filled(rows * hidden),
      dweight: make.filled(wide * hidden, 0),
    };
    return { run: (ops) => ops.linearBackward(args), outcome: () => ({ dx: args.dx, dweight: args.dweight }) };
  },
  floor: ({ rows, hidden, wide }) => ({ subject: "linear_backward", shape: { rows, inputs: hidden, outputs: wide } }),
  torch: ({ rows, hidden, wide }) => ({ subject: "linear_backward", shape: { rows, inputs: hidden, outputs: wide } }),
};

export const linearBench = [...subjects(forward), ...subjects(backward)];
