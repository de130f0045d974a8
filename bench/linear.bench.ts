/**
 * linear and its backward. No floor: the bare matrix product of BLAS cannot be called from here, and where the op has BLAS it
 * is that product and a check of its arguments. The portable product is timed beside it instead.
 */

import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { layers, type Layer } from "./shapes.ts";

const linearWork = {
  sizes: layers,
  // Weights of this size go to BLAS where there is one.
  reduced: { name: "reduced", rows: 5, hidden: 256, wide: 300, heads: 1, kvHeads: 1, headSize: 1 },
  shape: ({ rows, hidden, wide }: Layer) => `[${rows}, ${hidden}] x [${hidden}, ${wide}]`,
  floor: "none" as const,
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
  torch: ({ rows, hidden, wide }) => ({ subject: "linear_backward", shape: { rows, inputs: hidden, outputs: wide } }),
};

export const linearBench = [...subjects(forward), ...subjects(backward)];
