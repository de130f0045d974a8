import type { LinearLogprobsInputs } from "../../../src/ops/ops.ts";
import { reference } from "../../../src/ops/reference.ts";
import { randomArrays } from "../arrays.ts";
import type { OpCase } from "./op-case.ts";
import { offsetsOf } from "./op-case.ts";

/** What the fused head reads. */
export interface HeadRows {
  readonly name: string;
  readonly H: number;
  readonly V: number;
  readonly hidden: Float32Array;
  readonly weight: Float32Array;
  readonly bias?: Float32Array;
  readonly targetOffsets: Int32Array;
  readonly targets: Int32Array;
  readonly temperature?: number | Float32Array;
  readonly logitScale?: number;
  readonly softcap?: number;
  readonly ignoreIndex?: number;
}

interface HeadOptions {
  /** targets per row; default one row each with one, none, three and one */
  readonly counts?: readonly number[];
  /** standard deviation of the logits */
  readonly spread?: number;
  /** edited in place */
  readonly bias?: (bias: Float32Array) => void;
  readonly temperature?: number | Float32Array;
  readonly logitScale?: number;
  readonly softcap?: number;
  readonly ignoreIndex?: number;
  readonly edit?: (targets: Int32Array, hidden: Float32Array) => void;
}

export function headRows(
  name: string,
  [H, V]: readonly [number, number],
  { counts = [1, 0, 3, 1], spread = 2, bias, edit, ...options }: HeadOptions = {},
): HeadRows {
  const draw = randomArrays(H * 31 + V);
  const T = counts.length;
  const [hidden, weight, shift] = [draw.normals(T * H), draw.normals(V * H, spread / Math.sqrt(H)), draw.normals(V)];
  const targetOffsets = offsetsOf(counts);
  const targets = draw.integers(targetOffsets[T], V);
  bias?.(shift);
  edit?.(targets, hidden);
  return { name, H, V, hidden, weight, ...(bias && { bias: shift }), targetOffsets, targets, ...options };
}

/** A bias as it was drawn. */
export const free = () => undefined;
export const masked = (first: number, last: number) => (bias: Float32Array) => bias.fill(-Infinity, first, last);

export const temperatureScaleAndSoftcap: HeadOptions = {
  bias: free,
  temperature: Float32Array.of(0.5, 1, 0.7, 2),
  logitScale: 1.7,
  softcap: 3,
};

/** The first target is masked. */
export const maskedTarget = (target: number): HeadOptions => ({
  counts: [1, 2],
  bias: masked(target, target + 1),
  edit: (targets) => (targets[0] = target),
});

/** One target, of nearly all the probability. */
export const confidentTarget = (target: number): HeadOptions => ({
  counts: [1],
  bias: (bias) => (bias[target] = 16),
  edit: (targets) => targets.fill(target),
});

/** Around the lanes, a slab of 4096 columns, a block of 256 rows, and weights of 256 x 256, where BLAS begins. */
const heads: readonly HeadRows[] = [
  ...[
    [1, 1],
    [1, 7],
    [3, 2],
    [8, 16],
    [5, 33],
    [16, 97],
    [300, 65],
  ].map(([H, V]) => headRows(`H = ${H}, V = ${V}`, [H, V], { bias: free })),
  headRows("T = 0", [1, 1], { counts: [] }),
  headRows("N = 0", [4, 33], { counts: [0, 0, 0] }),
  headRows("a column beyond a slab", [4, 4097], { bias: free }),
  headRows("three slabs", [2, 9000], { counts: [2, 1, 0, 40] }),
  headRows("257 rows that take part", [3, 19], {
    counts: Array.from({ length: 300 }, (_, t) => (t % 7 === 6 ? 0 : 1)),
  }),
  headRows("a weight that goes to BLAS", [257, 260], { counts: [1, 0, 3, 1, 1], bias: free }),
  headRows("all of temperature, scale and softcap", [6, 100], temperatureScaleAndSoftcap),
  headRows("temperature 0.7", [6, 100], { temperature: 0.7 }),
  headRows("a logit scale", [6, 100], { bias: free, logitScale: 0.25 }),
  headRows("a wide softcap", [6, 100], { softcap: 30 }),
  headRows("a softcap that saturates", [6, 100], { spread: 40, softcap: 5 }),
  headRows("an ignored id", [6, 100], { ignoreIndex: -100, edit: (targets) => targets.fill(-100, 1, 3) }),
  headRows("rows of an ignored id of the vocabulary", [6, 100], { ignoreIndex: 3, edit: (t) => t.fill(3, 1) }),
  headRows("wide logits", [6, 300], { spread: 30 }),
  headRows("three equal targets in a row", [4, 40], { counts: [3, 1], edit: (targets) => targets.fill(5) }),
  headRows("a masked first slab", [3, 4200], { counts: [1, 1], bias: masked(0, 4100), edit: (t) => t.fill(4150) }),
  headRows("a masked target", [3, 50], maskedTarget(7)),
  headRows("all but one masked", [3, 50], { counts: [1], bias: masked(0, 49), edit: (targets) => (targets[0] = 49) }),
  headRows("wholly masked rows", [3, 21], { bias: masked(0, 21) }),
  headRows("a confident target", [3, 60], confidentTarget(41)),
  headRows("another target beside a confident one", [3, 60], {
    ...confidentTarget(41),
    counts: [2],
    edit: (targets) => targets.set([41, 3]),
  }),
  headRows("a row of NaN without targets", [4, 33], { edit: (_, hidden) => hidden.fill(NaN, 4, 8) }),
];

export function linearLogprobsCases(): OpCase[] {
  return heads.flatMap((head) => [
    forward(head),
    ...["all", "entropy", "dhidden", "quiet"].map((of) => headGradient(head, of)),
  ]);
}

function forward(head: HeadRows): OpCase {
  const T = head.targetOffsets.length - 1;
  return {
    op: "linearLogprobs",
    name: head.name,
    run: (ops, make) => ({
      ...ops.linearLogprobs({
        ...head,
        lse: make.filled(T),
        logprobs: make.filled(head.targets.length),
        entropy: make.filled(T),
      }),
    }),
  };
}

/**
 * The gradient of log-probs ("all"), of them and entropies, of log-probs to the hidden states alone, and of nothing; `given`:
 * the head as the op takes it.
 */
export function headGradient(head: HeadRows, of: string, given: LinearLogprobsInputs = head): OpCase {
  const T = head.targetOffsets.length - 1;
  const N = head.targets.length;
  const draw = randomArrays(N + head.V);
  const saved = reference().linearLogprobs({ ...given, entropy: true });
  const quiet = of === "quiet";
  const dlogprobs = quiet ? new Float32Array(N) : draw.normals(N);
  const args = {
    ...given,
    lse: Float32Array.from(saved.lse),
    logprobs: Float32Array.from(saved.logprobs),
    dlogprobs,
    ...(of === "entropy" && { entropy: Float32Array.from(saved.entropy!), dentropy: draw.normals(T) }),
  };
  const [dweight, dbias] = [draw.normals(head.weight.length), draw.normals(head.V)];
  // Sums of gradients of both signs: what they went through.
  const size = dlogprobs.reduce((sum, g) => sum + Math.abs(g), 1);
  return {
    op: "linearLogprobsBackward",
    name: `${head.name}, ${of}`,
    scale: { dhidden: size, dweight: size, dbias: size },
    run: (ops, make) => {
      const dhidden = make.filled(head.hidden.length, NaN);
      if (of === "dhidden") {
        ops.linearLogprobsBackward({ ...args, dhidden });
        return { dhidden };
      }
      const out = { dhidden, dweight: make.copy(dweight), dbias: make.copy(dbias) };
      ops.linearLogprobsBackward({ ...args, ...out });
      return out;
    },
  };
}
