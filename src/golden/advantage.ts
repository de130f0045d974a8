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
  const estimator = vector.options["estimator"];
  if (estimator !== "grpo" && estimator !== "rloo") throw new UnsupportedVector(`advantage/${String(estimator)}`);
  const outcomes = rows(vector.inputs["token_rewards"], "token_rewards").map((rewards) =>
    rewards.reduce((total, reward) => total + reward, 0),
  );
  const advantages = sequenceAdvantages(estimator, vector, outcomes);
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

function sequenceAdvantages(
  estimator: "grpo" | "rloo",
  { inputs, options }: GoldenVector,
  outcomes: readonly number[],
): Float64Array {
  const groups = flatten(inputs["group"], "group");
  const singleton = options["singleton"] ?? "raw";
  if (singleton !== "raw" && singleton !== "zero") {
    throw new UnsupportedVector(`advantage/${estimator} with singleton ${String(singleton)}`);
  }
  if (estimator === "rloo") return rloo({ outcomes, groups, singleton });
  return grpo({
    outcomes,
    groups,
    std: options["std"] === true,
    eps: requiredNumber(options, "eps"),
    ddof: requiredNumber(options, "ddof"),
    singleton,
  });
}
