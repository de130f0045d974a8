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
  readonly logitScale?: number;
  readonly softcap?: number;
  readonly ignoreIndex?: number;
  readonly keep?: Uint8Array;
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
  readonly logitScale?: number;
  readonly softcap?: number;
  readonly ignoreIndex?: number;
  /** which entries (t, v) a keep mask holds */
  readonly keep?: (t: number, v: number) => boolean;
  readonly edit?: (logits: Float32Array, targets: Int32Array) => void;
}

function rows(
  name: string,
  V: number,
  { counts = [1, 0, 3, 1], spread = 2, temperature = 1, several = false, keep, edit, ...options }: RowsOptions = {},
): Rows {
  const draw = randomArrays(V * 31 + name.length);
  const logits = draw.normals(counts.length * V, spread);
  const targetOffsets = offsetsOf(counts);
  const targets = draw.integers(targetOffsets[counts.length], V);
  edit?.(logits, targets);
  const mask = keep && { keep: keepMask(counts.length, V, keep) };
  return { name, V, logits, targetOffsets, targets, temperature, several, ...mask, ...options };
}

/** `[T, ⌈V / 8⌉]` bits, the lowest first; the spare ones are set, for they must not be read. */
export function keepMask(T: number, V: number, kept: (t: number, v: number) => boolean): Uint8Array {
  const bytes = Math.ceil(V / 8);
  return Uint8Array.from({ length: T * bytes }, (_, i) => {
    const [t, first] = [Math.floor(i / bytes), (i % bytes) * 8];
    let byte = 0;
    for (let bit = 0; bit < 8; bit++) if (first + bit >= V || kept(t, first + bit)) byte |= 1 << bit;
    return byte;
  });
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
  rows("logit scale", 100, { logitScale: 0.3, temperature: 0.7 }),
  rows("softcap", 100, { softcap: 3 }),
  rows("a softcap that saturates", 100, { softcap: 2, spread: 30 }),
  rows("scale, softcap and a temperature per row", 2100, { logitScale: 1.7, softcap: 5, temperature: perRow }),
  rows("masked vocabulary under a softcap", 40, { softcap: 4, edit: (logits) => logits.fill(-Infinity, 3, 17) }),
  rows("an ignored id", 50, { ignoreIndex: -100, edit: (_, targets) => targets.fill(-100, 1, 3) }),
  rows("a row of ignored targets", 50, { counts: [1, 2, 1], ignoreIndex: -100, edit: (_, t) => t.fill(-100, 1, 3) }),
  rows("an ignored id of the vocabulary", 50, { ignoreIndex: 0, edit: (_, targets) => targets.fill(0, 2, 4) }),
  ...[1, 7, 33, 64, 2049].map((V) => rows(`half of V = ${V} kept`, V, { keep: (t, v) => (t + v) % 2 === 0 })),
  rows("a kept few at temperature 0.7", 300, { temperature: 0.7, keep: (_, v) => v % 37 === 5 }),
  rows("all kept", 45, { keep: () => true }),
  rows("nothing kept but the target", 45, { counts: [1, 0, 1], keep: () => false }),
  rows("several targets outside of the support", 45, { counts: [3, 20], several: true, keep: (_, v) => v > 30 }),
  rows("a confident target in the support", 97, {
    counts: [1],
    keep: (_, v) => v > 30,
    edit: (logits, targets) => {
      targets[0] = 41;
      logits[41] = 16;
      logits[3] = 20;
    },
  }),
  rows("a confident target outside of the support", 97, {
    counts: [2],
    several: true,
    keep: (_, v) => v < 30,
    edit: (logits, targets) => {
      targets.set([41, 3]);
      logits[41] = 16;
    },
  }),
  rows("a support of masked vocabulary", 60, {
    counts: [1, 2],
    keep: (_, v) => v < 20,
    edit: (logits, targets) => {
      logits.fill(-Infinity, 0, 20);
      targets.set([40, 50, 40]);
    },
  }),
  rows("a masked target outside of the support", 60, {
    counts: [1],
    keep: (_, v) => v < 20,
    edit: (logits, targets) => (logits[targets.fill(40)[0]] = -Infinity),
  }),
  rows("support, softcap and an ignored id", 100, {
    softcap: 3,
    ignoreIndex: 7,
    keep: (_, v) => v % 3 > 0,
    edit: (_, targets) => (targets[2] = 7),
  }),
  rows("a NaN logit outside of the support", 40, {
    counts: [1, 1],
    keep: (_, v) => v < 20,
    edit: (logits, targets) => {
      logits[30] = NaN;
      targets.set([5, 6]);
    },
  }),
];
