/** Small policies for tests, and what a pass over a batch leaves in them. */

import type { Batch } from "../../src/batch.ts";
import type { Dtype, Floats, Ops } from "../../src/ops/ops.ts";
import type { Policy } from "../../src/policy.ts";
import { TransformerPolicy, type TransformerConfig } from "../../src/policies/transformer.ts";
import { random } from "./random.ts";

/** Two layers, two query heads per key/value head. */
export const smallConfig: TransformerConfig = {
  vocabulary: 11,
  hidden: 12,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 4,
  intermediate: 20,
  maxPositions: 24,
};

/** A transformer whose log-probs are far from uniform. */
export function smallTransformer(
  ops: Ops,
  config: Partial<TransformerConfig> = {},
  seed = 1,
  dtype: Dtype = "f32",
): TransformerPolicy {
  return TransformerPolicy.create({ ...smallConfig, ...config }, { random: random(seed), head: 0.5 }, { ops, dtype });
}

/** The gradients of all parameters, one after the other. */
export function gradientOf(policy: Policy): Float64Array {
  return Float64Array.from(policy.parameters().flatMap(({ grad }) => [...grad]));
}

export function clearGradient(policy: Policy): void {
  for (const { grad } of policy.parameters()) grad.fill(0);
}

/** The values of all parameters, one after the other. */
export function valuesOf(policy: Policy): Float64Array {
  return Float64Array.from(policy.parameters().flatMap(({ data }) => [...data]));
}

/** ‖a − b‖ / ‖b‖ */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

/**
 * Each target of a batch as text: all that it is predicted from, and itself, `1 2 3 → 4`. Targets of siblings that begin alike
 * have one name, as they have one log-prob.
 */
export function targetNames({ tokens, subtreeEnd, targetOffsets, targets }: Batch): string[] {
  return [...tokens].flatMap((_, t) => {
    const context = [...tokens].filter((_, j) => j <= t && t < subtreeEnd[j]).join(" ");
    return [...targets.subarray(targetOffsets[t], targetOffsets[t + 1])].map((target) => `${context} → ${target}`);
  });
}

/** Log-probs by the name of their target. */
export function byTarget(batch: Batch, logprobs: Floats): Map<string, number> {
  return new Map(targetNames(batch).map((name, n) => [name, logprobs[n]]));
}
