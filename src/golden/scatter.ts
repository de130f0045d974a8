/** Values of steps (or of whole sequences) brought to tokens by the op that the trainer uses for it. */
import type { Floats, Ops } from "../ops/ops.ts";
import { floats, type Precision } from "./vector.ts";

/** `[S, 2]` every value in the column of its sign: (Σ positive, Σ negative). */
export function signedPair(precision: Precision, values: ArrayLike<number>): Floats {
  const pairs = new Float64Array(2 * values.length);
  for (let s = 0; s < values.length; s++) pairs[values[s] < 0 ? 2 * s + 1 : 2 * s] = values[s];
  return floats(precision, pairs);
}

/** `[N]` values[stepOf[n]], 0 where stepOf is −1. */
export function scatter(
  ops: Ops,
  precision: Precision,
  values: ArrayLike<number>,
  stepOf: ArrayLike<number>,
): Float64Array {
  const scattered = ops.scatterAdvantages({
    stepCredits: signedPair(precision, values),
    stepOf: Int32Array.from(stepOf),
    advantages: floats(precision, new Float64Array(2 * stepOf.length)),
  });
  return Float64Array.from(stepOf, (_, n) => scattered[2 * n] + scattered[2 * n + 1]);
}
