/** Vectors of group advantages: one number per sequence, scattered over its valid tokens. */
import type { Floats, Ops } from "../ops/ops.ts";
import { grpo, rloo } from "../trajectory/advantages.ts";
import {
  flatten,
  floats,
  requiredNumber,
  rows,
  UnsupportedVector,
  type Computed,
  type GoldenVector,
  type Precision,
} from "./vector.ts";

export function computeAdvantage(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const outcomes = rows(vector.inputs["token_rewards"], "token_rewards").map((rewards) =>
    rewards.reduce((total, reward) => total + reward, 0),
  );
  const advantages = sequenceAdvantages(vector, outcomes);
  const stepOf = rows(vector.inputs["mask"], "mask").flatMap((row, b) => row.map((valid) => (valid === 0 ? -1 : b)));
  const scattered = ops.scatterAdvantages({
    stepCredits: signedPair(precision, advantages),
    stepOf: Int32Array.from(stepOf),
    advantages: floats(precision, new Float64Array(2 * stepOf.length)),
  });
  return { values: { advantages: Float64Array.from(stepOf, (_, n) => scattered[2 * n] + scattered[2 * n + 1]) } };
}

/** `[S, 2]` every value in the column of its sign: (Σ positive, Σ negative). */
export function signedPair(precision: Precision, values: ArrayLike<number>): Floats {
  const pairs = new Float64Array(2 * values.length);
  for (let s = 0; s < values.length; s++) pairs[values[s] < 0 ? 2 * s + 1 : 2 * s] = values[s];
  return floats(precision, pairs);
}

function sequenceAdvantages(vector: GoldenVector, outcomes: readonly number[]): Float64Array {
  const { options } = vector;
  const groups = flatten(vector.inputs["group"], "group");
  const singleton = options["singleton"] ?? "raw";
  if (singleton !== "raw" && singleton !== "zero") throw new UnsupportedVector(`singleton/${String(singleton)}`);
  switch (options["estimator"]) {
    case "grpo":
      return grpo({
        outcomes,
        groups,
        std: options["std"] === true,
        eps: requiredNumber(options, "eps"),
        ddof: requiredNumber(options, "ddof"),
        singleton,
      });
    case "rloo":
      return rloo({ outcomes, groups, singleton });
    default:
      throw new UnsupportedVector(`advantage/${String(options["estimator"])}`);
  }
}
