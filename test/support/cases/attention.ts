import type { DecodeAttentionArguments, TreeAttentionArguments } from "../../../src/ops/ops.ts";
import { reference } from "../../../src/ops/reference.ts";
import { randomArrays } from "../arrays.ts";
import type { OpCase } from "./op-case.ts";

type TreeInputs = Omit<TreeAttentionArguments, "out" | "lse">;
type DecodeInputs = Omit<DecodeAttentionArguments, "out">;

/** Forests in depth-first order, by the parent of every position (−1: a root). */
export const forests: Readonly<Record<string, readonly number[]>> = {
  "one position": [-1],
  "a chain": [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8],
  "single positions": [-1, -1, -1],
  "a branch": [-1, 0, 1, 2, 1, 4, 5],
  "branches in branches, three trees": [-1, 0, 1, 2, 3, 2, 5, 1, 7, 0, -1, 10, -1, 12, 13, 12, 15, 15, 17],
  "a long chain with three leaves": [...Array.from({ length: 66 }, (_, i) => i - 1), 65, 66, 65, 68, 40, 70, 71],
};

/** Longer than what softmaxes are joined from (512 entries on a device), with branches near the end. */
export const severalStretches: readonly number[] = [
  ...Array.from({ length: 590 }, (_, i) => i - 1),
  580,
  590,
  300,
  592,
];

/** subtreeEnd [T]: one past the last descendant. */
export function subtreeEnds(parents: readonly number[]): Int32Array {
  const ends = Int32Array.from(parents, (_, i) => i + 1);
  for (let i = parents.length - 1; i >= 0; i--)
    if (parents[i] >= 0) ends[parents[i]] = Math.max(ends[parents[i]], ends[i]);
  return ends;
}

export const headLayouts: readonly (readonly [heads: number, kvHeads: number, D: number])[] = [
  [1, 1, 4],
  [4, 2, 16],
  [4, 2, 20],
  [4, 1, 4],
  [2, 2, 64],
];

/** Rows of several tiles of columns, the last not full or not of whole vectors; more heads of a group than a tile takes. */
const wideLayouts: typeof headLayouts = [
  [2, 1, 80],
  [2, 1, 131],
  [3, 1, 260],
  [70, 1, 7],
];

export function treeInputs(
  parents: readonly number[],
  [heads, kvHeads, D]: readonly [number, number, number],
  spread = 1,
): TreeInputs {
  const T = parents.length;
  const draw = randomArrays(T * 100 + D);
  const shape = { heads, kvHeads, headSize: D, scale: 1 / Math.sqrt(D) };
  const [q, k, v] = [
    draw.normals(T * heads * D, spread),
    draw.normals(T * kvHeads * D, spread),
    draw.normals(T * kvHeads * D),
  ];
  return { ...shape, q, k, v, subtreeEnd: subtreeEnds(parents) };
}

export function attentionCases(): OpCase[] {
  const treesOf = (name: string, layouts: typeof headLayouts) =>
    layouts.flatMap((layout) => {
      const [heads, kvHeads, D] = layout;
      return treeCases(`${name}, ${heads} heads, ${kvHeads} kv, D = ${D}`, treeInputs(forests[name], layout));
    });
  const trees = Object.keys(forests).flatMap((name) => treesOf(name, headLayouts));
  const wide = treesOf("branches in branches, three trees", wideLayouts);
  const long = treeCases("a chain of several stretches, with branches", treeInputs(severalStretches, [1, 1, 6]));
  const sharp = treeCases("sharp scores", treeInputs(forests["a branch"], [4, 2, 16], 6), 6);
  const windows = ["branches in branches, three trees", "a long chain with three leaves"].flatMap((name) =>
    [1, 3, 16, 21, 65, 1000].flatMap((window) =>
      treeCases(`${name}, window ${window}`, { ...treeInputs(forests[name], [4, 2, 20]), window }),
    ),
  );
  return [...trees, ...wide, ...long, ...sharp, ...windows, ...decodeCases()];
}

const largestNormal = 4;

function treeCases(name: string, inputs: TreeInputs, spread = 1): OpCase[] {
  const T = inputs.subtreeEnd.length;
  const saved = { out: new Float32Array(inputs.q.length), lse: new Float32Array(T * inputs.heads) };
  reference().treeAttention({ ...inputs, ...saved });
  const dout = randomArrays(T).normals(inputs.q.length);
  return [
    {
      op: "treeAttention",
      name,
      scale: { out: 1, lse: 1 },
      run: (ops, make) => {
        const out = { out: make.filled(inputs.q.length), lse: make.filled(T * inputs.heads) };
        ops.treeAttention({ ...inputs, ...out });
        return out;
      },
    },
    {
      op: "treeAttentionBackward",
      name,
      scale: { dq: largestNormal * spread, dk: largestNormal * spread, dv: 1 }, // dq, dk: differences of dout · v
      run: (ops, make) => {
        const out = {
          dq: make.filled(inputs.q.length),
          dk: make.filled(inputs.k.length),
          dv: make.filled(inputs.v.length),
        };
        ops.treeAttentionBackward({ ...inputs, ...saved, dout, ...out });
        return out;
      },
    },
  ];
}

/** Rows over paths of the given lengths through a cache, in an order that is not the cache's own. */
export function decodeInputs(
  lengths: readonly number[],
  [heads, kvHeads, D]: readonly [number, number, number],
): DecodeInputs {
  const draw = randomArrays(lengths.length + D);
  const capacity = 100;
  const paths = lengths.map((length) => Array.from({ length }, () => draw.integer(capacity)));
  const slotOffsets = Int32Array.from([0, ...lengths.map((_, r) => lengths.slice(0, r + 1).reduce((a, b) => a + b))]);
  return {
    heads,
    kvHeads,
    headSize: D,
    scale: 1 / Math.sqrt(D),
    q: draw.normals(lengths.length * heads * D),
    keys: draw.normals(capacity * kvHeads * D),
    values: draw.normals(capacity * kvHeads * D),
    slotOffsets,
    slots: Int32Array.from(paths.flat()),
  };
}

function decodeCases(): OpCase[] {
  const layouts = headLayouts.flatMap((layout) => [
    { layout, name: "" },
    { layout, name: ", window 2", window: 2 },
    { layout, name: ", window 19", window: 19 },
  ]);
  const wide = wideLayouts.map((layout) => ({ layout, name: "" }));
  return [[1], [1, 7, 64, 3], [33, 2, 100, 1, 17]].flatMap((lengths) =>
    [...layouts, ...(lengths.length === 4 ? wide : [])].map(({ layout, name, ...shape }): OpCase => {
      const inputs = { ...decodeInputs(lengths, layout), ...shape };
      const [heads, kvHeads, D] = layout;
      return {
        op: "decodeAttention",
        name: `paths of ${lengths.join(", ")}; ${heads} heads, ${kvHeads} kv, D = ${D}${name}`,
        scale: { out: 1 },
        run: (ops, make) => {
          const out = make.filled(inputs.q.length);
          ops.decodeAttention({ ...inputs, out });
          return { out };
        },
      };
    }),
  );
}
