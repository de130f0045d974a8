/** Vectors of the estimators of KL(policy ‖ reference), value and gradient per token. */
import type { KlEstimator, KlOptions, Ops } from "../ops/ops.ts";
import {
  flatten,
  floats,
  optionalNumber,
  UnsupportedVector,
  type Computed,
  type GoldenVector,
  type Json,
  type Precision,
} from "./vector.ts";

const kEstimators: readonly string[] = ["k1", "k2", "k3", "abs", "k1+", "k3+"] satisfies readonly KlEstimator[];

export function computeKl(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const array = (name: string) => floats(precision, flatten(vector.inputs[name], name));
  const logprobs = array("logp");
  const { kl, dlogprobs } = ops.kl({
    ...klOptions(
      vector.options["estimator"],
      optionalNumber(vector.options, "log_ratio_clamp"),
      optionalNumber(vector.options, "value_clamp"),
    ),
    logprobs,
    refLogprobs: array("ref_logp"),
    dkl: array("grad_kl"),
    kl: floats(precision, new Float64Array(logprobs.length)),
    dlogprobs: floats(precision, new Float64Array(logprobs.length)),
  });
  return { values: { kl, grad_logp: dlogprobs } };
}

export function klOptions(estimator: Json | undefined, logRatioClamp?: number, valueClamp?: number): KlOptions {
  if (typeof estimator !== "string" || !kEstimators.includes(estimator)) {
    throw new UnsupportedVector(`kl/${String(estimator)}`);
  }
  return {
    estimator: estimator as KlEstimator,
    ...(logRatioClamp === undefined ? {} : { logRatioClamp }),
    ...(valueClamp === undefined ? {} : { valueClamp }),
  };
}
