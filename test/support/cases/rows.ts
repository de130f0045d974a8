import { randomArrays } from "../arrays.ts";
import { offsetsOf } from "./op-case.ts";

/** Rows of logits with their targets: what logprobs, its backward and the fused update read. */
export interface Rows {
  readonly name: string;
  readonly V: number;
  readonly logits: Float32Array;
  readonly targetOffsets: Int32Array;
  readonly targets: Int32Array;
  readonly temperature: number | Float32Array;
  /** the gradients of several targets nearly cancel in an entry: its error is that of their sum */
  readonly several: boolean;
}

interface RowsOptions {
  /** targets per row; default one row each with none, one and three */
  readonly counts?: readonly number[];
  /** standard deviation of the logits */
  readonly spread?: number;
  readonly temperature?: number | Float32Array;
  readonly several?: boolean;
  readonly edit?: (logits: Float32Array, targets: Int32Array) => void;
}

function rows(
  name: string,
  V: number,
  { counts = [1, 0, 3, 1], spread = 2, temperature = 1, several = false, edit }: RowsOptions = {},
): Rows {
  const draw = randomArrays(V * 31 + name.length);
  const logits = draw.normals(counts.length * V, spread);
  const targetOffsets = offsetsOf(counts);
  const targets = draw.integers(targetOffsets[counts.length], V);
  edit?.(logits, targets);
  return { name, V, logits, targetOffsets, targets, temperature, several };
}

const vocabularies = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 257, 2047, 2048, 2049, 5000];
const perRow = Float32Array.of(0.5, 1, 0.7, 2);

/** The awkward rows, one regime per entry, so that a wide one does not widen the tolerance of another. */
export const awkwardRows: readonly Rows[] = [
  ...vocabularies.map((V) => rows(`V = ${V}`, V)),
  rows("T = 0", 1, { counts: [] }),
  rows("N = 0", 33, { counts: [0, 0, 0] }),
  rows("T = 1", 33, { counts: [1] }),
  rows("T = 1, V = 1", 1, { counts: [1] }),
  rows("three equal targets in a row", 40, { counts: [3, 1], edit: (_, targets) => targets.fill(5) }),
  rows("twenty targets in a row", 19, { counts: [20, 1] }),
  rows("temperature 0.7", 100, { temperature: 0.7 }),
  rows("a temperature per row", 100, { temperature: perRow }),
  rows("wide logits", 300, { spread: 30 }),
  rows("equal logits", 33, { edit: (logits) => logits.fill(-3.25) }),
  rows("two equal maxima", 33, { counts: [2], edit: (logits) => [3, 30].forEach((v) => (logits[v] = 9)) }),
  rows("ascending logits", 5000, { counts: [2], edit: (logits) => logits.forEach((_, v) => (logits[v] = v / 100)) }),
  rows("descending logits", 5000, { counts: [2], edit: (logits) => logits.forEach((_, v) => (logits[v] = -v / 100)) }),
  ...[12, 16, 30, 80].map((lead) =>
    rows(`a target confident by ${lead}`, 97, {
      counts: [1, 0],
      edit: (logits, targets) => {
        targets[0] = 41;
        logits[41] = lead;
      },
    }),
  ),
  rows("another target beside a confident one", 97, {
    counts: [2],
    several: true,
    edit: (logits, targets) => {
      targets.set([41, 3]);
      logits[41] = 16;
    },
  }),
  rows("twenty targets around a confident one", 64, {
    counts: [20],
    several: true,
    edit: (logits, targets) => {
      targets.forEach((_, n) => (targets[n] = n + 10));
      logits[28] = 14;
    },
  }),
  rows("masked vocabulary", 50, { edit: (logits) => logits.forEach((_, i) => i % 3 === 0 && (logits[i] = -Infinity)) }),
  rows("all but one masked", 50, {
    counts: [1, 2],
    edit: (logits, targets) => {
      logits.fill(-Infinity);
      logits[7] = 1.5;
      logits[50] = -2;
      targets.set([7, 0, 4]);
    },
  }),
  rows("a masked target", 50, {
    counts: [1, 3],
    edit: (logits, targets) =>
      targets.forEach((target, n) => n !== 2 && (logits[(n === 0 ? 0 : 50) + target] = -Infinity)),
  }),
  rows("a wholly masked row", 21, { counts: [1, 1, 1], edit: (logits) => logits.fill(-Infinity, 21, 42) }),
  rows("a masked first block", 2100, { counts: [1], edit: (logits) => logits.fill(-Infinity, 0, 2060) }),
  rows("one logit of 1e4", 60, { counts: [1, 2], edit: (logits) => [5, 66].forEach((i) => (logits[i] = 1e4)) }),
  rows("one logit of −1e4", 60, { counts: [1, 2], edit: (logits) => [5, 66].forEach((i) => (logits[i] = -1e4)) }),
  rows("all logits near 1e4", 60, {
    counts: [1, 2],
    edit: (logits) => logits.forEach((x, i) => (logits[i] = 1e4 + x)),
  }),
  rows("all logits near −1e4", 60, {
    counts: [1, 2],
    edit: (logits) => logits.forEach((x, i) => (logits[i] = x - 1e4)),
  }),
  rows("logits of ±1e4", 60, {
    counts: [1, 2],
    edit: (logits) => logits.forEach((x, i) => (logits[i] = x > 0 ? 1e4 : -1e4)),
  }),
  rows("±1e4 at temperature 0.7", 60, {
    counts: [1, 2],
    temperature: 0.7,
    edit: (logits) => logits.forEach((x, i) => (logits[i] = x > 0 ? 1e4 : -1e4)),
  }),
  rows("a NaN logit in one row", 40, { counts: [1, 1, 1], edit: (logits) => (logits[60] = NaN) }),
];
