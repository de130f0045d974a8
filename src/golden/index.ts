/** Golden vectors: every one is computed by the ops of a backend and compared with what the named peer gave. */
import type { Ops } from "../ops/ops.ts";
import { computeAdvantage } from "./advantage.ts";
import { computeAggregate } from "./aggregation.ts";
import { computeStepAdvantage, computeStepAdvantageTokens, computeVineStepAdvantage } from "./advantage-steps.ts";
import { compare, type GoldenFailure } from "./compare.ts";
import { computeFusedPolicyLoss } from "./fused-policy-loss.ts";
import { computeImportanceWeights, computeRejectionMask } from "./importance.ts";
import { computeKl } from "./kl.ts";
import { computeLinearLogprob } from "./linear-logprob.ts";
import { computeLogprob, computeLogprobSupport } from "./logprob.ts";
import { computePolicyLoss } from "./policy-loss.ts";
import { computeStepScatter } from "./step-scatter.ts";
import { computeValueLoss } from "./value-loss.ts";
import { UnsupportedVector, type Computed, type GoldenVector, type Precision } from "./vector.ts";

export { readVector, UnsupportedVector, type GoldenVector, type Precision } from "./vector.ts";
export type { GoldenFailure } from "./compare.ts";

export interface GoldenOutcome {
  readonly status: "passed" | "failed" | "unsupported";
  /** empty unless failed */
  readonly failures: readonly GoldenFailure[];
  /** what is missing, as `op` or `op/variant`; only where unsupported */
  readonly reason?: string;
  /** names of the vector's metrics for which this library computes nothing */
  readonly metricsNotCompared: readonly string[];
}

type Adapter = (vector: GoldenVector, ops: Ops, precision: Precision) => Computed;

const kAdapters: ReadonlyMap<string, Adapter> = new Map([
  ["logprob", computeLogprob],
  ["logprob_support", computeLogprobSupport],
  ["linear_logprob", computeLinearLogprob],
  ["policy_loss", computePolicyLoss],
  ["fused_policy_loss", computeFusedPolicyLoss],
  ["value_loss", computeValueLoss],
  ["kl", computeKl],
  ["aggregate", computeAggregate],
  ["advantage", computeAdvantage],
  ["step_scatter", computeStepScatter],
  ["step_advantage", computeStepAdvantage],
  ["step_advantage_tokens", computeStepAdvantageTokens],
  ["vine_step_advantage", computeVineStepAdvantage],
  ["is_weights", computeImportanceWeights],
  ["rejection_mask", computeRejectionMask],
]);

/** Runs one vector: float64 arrays and tolerances on the reference, float32 ones on every other backend. */
export function runGolden(vector: GoldenVector, ops: Ops): GoldenOutcome {
  const precision: Precision = ops.name.startsWith("reference") ? "f64" : "f32";
  const adapter = kAdapters.get(vector.op);
  if (adapter === undefined) return unsupported(vector.op);
  try {
    const { failures, metricsNotCompared } = compare(vector, adapter(vector, ops, precision), precision);
    return { status: failures.length === 0 ? "passed" : "failed", failures, metricsNotCompared };
  } catch (error) {
    if (error instanceof UnsupportedVector) return unsupported(error.reason);
    const message = error instanceof Error ? error.message : String(error);
    return { status: "failed", failures: [{ key: "error", got: message, want: "a result" }], metricsNotCompared: [] };
  }
}

function unsupported(reason: string): GoldenOutcome {
  return { status: "unsupported", failures: [], reason, metricsNotCompared: [] };
}
