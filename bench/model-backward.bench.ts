/** The gradients of the ops of model.bench.ts. */

import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { integers, normals } from "./inputs.ts";
import { layers, type Layer } from "./shapes.ts";

const layerWork = {
  sizes: layers,
  reduced: { name: "reduced", rows: 5, hidden: 72, wide: 203, heads: 3, kvHeads: 1, headSize: 24 },
};

const rmsNormBackward: Work<Layer> = {
  ...layerWork,
  op: "rmsNormBackward",
  shape: ({ rows, hidden }) => `[${rows}, ${hidden}]`,
  cost: ({ rows, hidden }) => ({
    readBytes: 4 * (2 * rows * hidden + rows + 2 * hidden),
    writtenBytes: 4 * (rows * hidden + hidden),
    flops: 0,
  }),
  build({ rows, hidden }, make) {
    const args = {
      x: normals(1, rows * hidden),
      weight: normals(2, hidden),
      rrms: new Float32Array(rows).fill(1),
      dy: normals(3, rows * hidden),
      dx: make.filled(rows * hidden),
      dweight: make.filled(hidden, 0),
    };
    return { run: (ops) => ops.rmsNormBackward(args), outcome: () => ({ dx: args.dx, dweight: args.dweight }) };
  },
};

const ropeBackward: Work<Layer> = {
  ...layerWork,
  op: "ropeBackward",
  shape: ({ rows, heads, headSize }) => `[${rows}, ${heads}, ${headSize}]`,
  cost: ({ rows, heads, headSize }) => ({
    readBytes: 4 * rows * headSize * (heads + 1),
    writtenBytes: 4 * rows * headSize * heads,
    flops: 0,
  }),
  build({ rows, heads, headSize }, make) {
    const angles = normals(2, (rows * headSize) / 2);
    const args = {
      x: make.copy(normals(1, rows * heads * headSize)),
      depth: Int32Array.from({ length: rows }, (_, t) => t),
      heads,
      headSize,
      cosines: angles.map(Math.cos),
      sines: angles.map(Math.sin),
    };
    return { run: (ops) => ops.ropeBackward(args), outcome: () => ({ x: args.x }) };
  },
};

const swigluBackward: Work<Layer> = {
  ...layerWork,
  op: "swigluBackward",
  shape: ({ rows, wide }) => `[${rows}, ${wide}]`,
  cost: ({ rows, wide }) => ({ readBytes: 12 * rows * wide, writtenBytes: 8 * rows * wide, flops: 0 }),
  build({ rows, wide }, make) {
    const inputs = { gate: normals(1, rows * wide), up: normals(2, rows * wide), dout: normals(3, rows * wide) };
    const written = { dgate: make.filled(rows * wide), dup: make.filled(rows * wide) };
    return { run: (ops) => ops.swigluBackward({ ...inputs, ...written }), outcome: () => written };
  },
};

const vocabulary = 32_000;

const embedBackward: Work<Layer> = {
  ...layerWork,
  op: "embedBackward",
  shape: ({ rows, hidden }) => `[${rows}] into [${vocabulary}, ${hidden}]`,
  cost: ({ rows, hidden }) => ({
    readBytes: 8 * rows * hidden + 4 * rows,
    writtenBytes: 4 * rows * hidden,
    flops: 0,
  }),
  build({ rows, hidden }, make) {
    const ids = integers(2, rows, vocabulary);
    const dout = normals(1, rows * hidden);
    const dtable = make.filled(vocabulary * hidden, 0);
    return { run: (ops) => ops.embedBackward({ ids, hidden, dout, dtable }), outcome: () => ({ dtable }) };
  },
};

export const modelBackwardBench = [
  ...[rmsNormBackward, ropeBackward, swigluBackward, embedBackward].flatMap((work) => subjects(work)),
];
