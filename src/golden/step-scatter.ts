/** Vectors that scatter one value per step over its tokens, and its transpose. */
import type { Ops } from "../ops/ops.ts";
import { signedPair } from "./scatter.ts";
import { flatten, floats, rows, type Computed, type GoldenVector, type Precision } from "./vector.ts";

/** Steps of all sequences are rows of one credit table; a token outside every step, or masked, has no row. */
export function computeStepScatter(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const lengths = flatten(vector.inputs["lengths"], "lengths");
  const starts = rows(vector.inputs["step_starts"], "step_starts");
  const mask = rows(vector.inputs["mask"], "mask");
  const values = flatten(vector.inputs["step_values"], "step_values");
  const stepOf: number[] = [];
  let firstStep = 0;
  mask.forEach((row, b) => {
    row.forEach((valid, t) => {
      const step = starts[b].findLastIndex((start) => start <= t);
      stepOf.push(valid !== 0 && t < lengths[b] && step >= 0 ? firstStep + step : -1);
    });
    firstStep += starts[b].length;
  });
  const gather = { stepOf: Int32Array.from(stepOf) };
  const advantages = ops.scatterAdvantages({
    ...gather,
    stepCredits: signedPair(precision, values),
    advantages: floats(precision, new Float64Array(2 * stepOf.length)),
  });
  // Both columns of a step get the same upstream gradient: that of the value they add up to.
  const gradTokens = flatten(vector.inputs["grad_tokens"], "grad_tokens");
  const dstepCredits = ops.scatterAdvantagesBackward({
    ...gather,
    steps: values.length,
    dadvantages: floats(
      precision,
      gradTokens.flatMap((gradient) => [gradient, gradient]),
    ),
    dstepCredits: floats(precision, new Float64Array(2 * values.length)),
  });
  return {
    values: {
      token_values: Float64Array.from(stepOf, (_, n) => advantages[2 * n] + advantages[2 * n + 1]),
      grad_step_values: Float64Array.from(values, (value, s) => dstepCredits[value < 0 ? 2 * s + 1 : 2 * s]),
    },
  };
}
