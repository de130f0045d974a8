/** Attention over packed trees and, while sampling, over paths of a cache. */

import type { Make } from "../test/support/cases/op-case.ts";
import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { evenOffsets, integers, normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { attentionTrees, layers, uniqueTokens, type Rollouts } from "./shapes.ts";

const [{ heads, kvHeads, headSize }] = layers;
const layout = { heads, kvHeads, headSize, scale: 1 / Math.sqrt(headSize) };

function subtreeEnds({ branches, length, shared }: Rollouts): Int32Array {
  const own = length - shared;
  return Int32Array.from({ length: shared + branches * own }, (_, t) =>
    t < shared ? shared + branches * own : shared + own * (Math.floor((t - shared) / own) + 1),
  );
}

/** Pairs (i, j) of positions where i attends to j. */
function pairs({ branches, length, shared }: Rollouts): number {
  const upTo = (positions: number): number => (positions * (positions + 1)) / 2;
  return upTo(shared) + branches * (upTo(length) - upTo(shared));
}

const treeWork = {
  sizes: attentionTrees,
  reduced: { name: "reduced", branches: 3, length: 11, shared: 4 },
  shape: (size: Rollouts) =>
    `[${uniqueTokens(size)}, ${heads}/${kvHeads}, ${headSize}], ${size.branches} of ${size.length}, ${size.shared} shared`,
  floor: "none" as const,
};

function treeInputs(size: Rollouts, make: Make) {
  const T = uniqueTokens(size);
  return {
    ...layout,
    q: normals(1, T * heads * headSize),
    k: normals(2, T * kvHeads * headSize),
    v: normals(3, T * kvHeads * headSize),
    subtreeEnd: subtreeEnds(size),
    out: make.filled(T * heads * headSize),
    lse: make.filled(T * heads),
  };
}

const torchShape = (size: Rollouts) => {
  const { branches, length, shared } = size;
  return { branches, length, shared, heads, kvHeads, headSize };
};

const forward: Work<Rollouts> = {
  ...treeWork,
  op: "treeAttention",
  cost: (size) => ({
    readBytes: 4 * uniqueTokens(size) * headSize * (heads + 2 * kvHeads),
    writtenBytes: 4 * uniqueTokens(size) * heads * (headSize + 1),
    flops: 4 * pairs(size) * heads * headSize,
  }),
  build(size, make) {
    const args = treeInputs(size, make);
    return {
      run: (ops) => ops.treeAttention(args),
      runPlain: () => plain.treeAttention(args),
      outcome: () => ({ out: args.out, lse: args.lse }),
    };
  },
  torch: (size) => ({ subject: "tree_attention", shape: torchShape(size) }),
};

const backward: Work<Rollouts> = {
  ...treeWork,
  op: "treeAttentionBackward",
  cost: (size) => ({
    readBytes: 4 * uniqueTokens(size) * headSize * (3 * heads + 2 * kvHeads),
    writtenBytes: 4 * uniqueTokens(size) * headSize * (heads + 2 * kvHeads),
    flops: 10 * pairs(size) * heads * headSize,
  }),
  build(size, make) {
    const inputs = treeInputs(size, make);
    plain.treeAttention(inputs);
    const written = {
      dq: make.filled(inputs.q.length),
      dk: make.filled(inputs.k.length),
      dv: make.filled(inputs.v.length),
    };
    const saved = { out: Float32Array.from(inputs.out), lse: Float32Array.from(inputs.lse) };
    const args = { ...inputs, ...saved, dout: normals(4, inputs.q.length), ...written };
    return { run: (ops) => ops.treeAttentionBackward(args), outcome: () => written };
  },
  torch: (size) => ({ subject: "tree_attention_backward", shape: torchShape(size) }),
};

interface Decoding {
  readonly name: string;
  /** R */
  readonly rows: number;
  /** cached positions of a row's path */
  readonly path: number;
}

const decode: Work<Decoding> = {
  op: "decodeAttention",
  sizes: [{ name: "64-of-1024", rows: 64, path: 1024 }],
  reduced: { name: "reduced", rows: 3, path: 13 },
  shape: ({ rows, path }) => `[${rows}, ${heads}/${kvHeads}, ${headSize}] over ${path}`,
  cost: ({ rows, path }) => ({
    readBytes: 4 * rows * (heads * headSize + path * (2 * kvHeads * headSize + 1)),
    writtenBytes: 4 * rows * heads * headSize,
    flops: 4 * rows * path * heads * headSize,
  }),
  build({ rows, path }, make) {
    const cached = rows * path;
    const args = {
      ...layout,
      q: normals(1, rows * heads * headSize),
      keys: normals(2, cached * kvHeads * headSize),
      values: normals(3, cached * kvHeads * headSize),
      slotOffsets: evenOffsets(rows, path),
      slots: integers(4, cached, cached),
      out: make.filled(rows * heads * headSize),
    };
    return {
      run: (ops) => ops.decodeAttention(args),
      runPlain: () => plain.decodeAttention(args),
      outcome: () => ({ out: args.out }),
    };
  },
};

export const attentionBench = [...subjects(forward), ...subjects(backward), ...subjects(decode)];
