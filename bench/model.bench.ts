/** The ops of a transformer that move memory: norm, rotary angles, SwiGLU, embedding. */

import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { integers, normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { layers, type Layer } from "./shapes.ts";

const layerWork = {
  sizes: layers,
  reduced: { name: "reduced", rows: 5, hidden: 72, wide: 203, heads: 3, kvHeads: 1, headSize: 24 },
};

const rmsNorm: Work<Layer> = {
  ...layerWork,
  op: "rmsNorm",
  shape: ({ rows, hidden }) => `[${rows}, ${hidden}]`,
  cost: ({ rows, hidden }) => ({
    readBytes: 4 * (rows * hidden + hidden),
    writtenBytes: 4 * (rows * hidden + rows),
    flops: 0,
  }),
  build({ rows, hidden }, make) {
    const args = {
      x: normals(1, rows * hidden),
      weight: normals(2, hidden),
      eps: 1e-6,
      y: make.filled(rows * hidden),
      rrms: make.filled(rows),
    };
    return {
      run: (ops) => ops.rmsNorm(args),
      runPlain: () => plain.rmsNorm(args),
      outcome: () => ({ y: args.y, rrms: args.rrms }),
    };
  },
  torch: ({ rows, hidden }) => ({ subject: "norm", shape: { rows, hidden } }),
};

const rope: Work<Layer> = {
  ...layerWork,
  op: "rope",
  shape: ({ rows, heads, headSize }) => `[${rows}, ${heads}, ${headSize}]`,
  cost: ({ rows, heads, headSize }) => ({
    readBytes: 4 * rows * headSize * (heads + 1),
    writtenBytes: 4 * rows * headSize * heads,
    flops: 0,
  }),
  build({ rows, heads, headSize }, make) {
    const half = headSize / 2;
    const angles = Float32Array.from(
      { length: rows * half },
      (_, i) => Math.floor(i / half) * 10_000 ** (-(i % half) / half),
    );
    const args = {
      x: make.copy(normals(1, rows * heads * headSize)),
      depth: Int32Array.from({ length: rows }, (_, t) => t),
      heads,
      headSize,
      cosines: angles.map(Math.cos),
      sines: angles.map(Math.sin),
    };
    return { run: (ops) => ops.rope(args), runPlain: () => plain.rope(args), outcome: () => ({ x: args.x }) };
  },
  torch: ({ rows, heads, headSize }) => ({ subject: "rope", shape: { rows, heads, headSize } }),
};

const swiglu: Work<Layer> = {
  ...layerWork,
  op: "swiglu",
  shape: ({ rows, wide }) => `[${rows}, ${wide}]`,
  cost: ({ rows, wide }) => ({ readBytes: 8 * rows * wide, writtenBytes: 4 * rows * wide, flops: 0 }),
  build({ rows, wide }, make) {
    const gate = normals(1, rows * wide);
    const up = normals(2, rows * wide);
    const out = make.filled(rows * wide);
    return {
      run: (ops) => ops.swiglu({ gate, up, out }),
      runPlain: () => plain.swiglu(gate, up, out),
      outcome: () => ({ out }),
    };
  },
  torch: ({ rows, wide }) => ({ subject: "swiglu", shape: { count: rows * wide } }),
};

const vocabulary = 32_000;

const embed: Work<Layer> = {
  ...layerWork,
  op: "embed",
  shape: ({ rows, hidden }) => `[${rows}] of [${vocabulary}, ${hidden}]`,
  cost: ({ rows, hidden }) => ({
    readBytes: 4 * rows * hidden + 4 * rows,
    writtenBytes: 4 * rows * hidden,
    flops: 0,
  }),
  build({ rows, hidden }, make) {
    const table = normals(1, vocabulary * hidden);
    const ids = integers(2, rows, vocabulary);
    const out = make.filled(rows * hidden);
    return {
      run: (ops) => ops.embed({ table, ids, hidden, out }),
      runPlain: () => plain.embed(table, ids, hidden, out),
      outcome: () => ({ out }),
    };
  },
  torch: ({ rows, hidden }) => ({ subject: "embed", shape: { rows, vocabulary, hidden } }),
};

export const modelBench = [rmsNorm, rope, swiglu, embed].flatMap((work) => subjects(work));
