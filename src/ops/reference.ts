/**
 * The specification of every op: the shortest honest loops from the formulas of `native/ops.h`. With the identity it is
 * the truth in float64; with a rounder it is plain code at that precision, every intermediate rounded, which is what a
 * kernel's error is measured against.
 */

import type { Ops } from "./ops.ts";
import type { Round } from "./reference/arithmetic.ts";
import { identity } from "./reference/arithmetic.ts";
import { attentionReference } from "./reference/attention.ts";
import { linearLogprobsReference } from "./reference/linear-logprobs.ts";
import { logprobsReference } from "./reference/logprobs.ts";
import { valueLossReference } from "./reference/loss-family.ts";
import { lossReference } from "./reference/loss.ts";
import { modelReference } from "./reference/model.ts";
import { optimizerReference } from "./reference/optimizer.ts";
import { sampleReference } from "./reference/sample.ts";
import { updateReference } from "./reference/update.ts";

export { philox } from "./reference/sample.ts";

/**
 * All ops in plain loops. Takes Float32Array and Float64Array; an output that is not passed is a Float64Array.
 * @param round applied to every intermediate: the identity (default) for the truth, `Math.fround` for plain float32.
 */
export function reference(round: Round = identity): Ops {
  return {
    name: "reference",

    allocate: (length) => new Float64Array(length),

    ...logprobsReference(round),
    ...linearLogprobsReference(round),
    ...lossReference(round),
    ...valueLossReference(round),
    ...updateReference(round),
    ...optimizerReference(round),
    ...sampleReference(round),
    ...modelReference(round),
    ...attentionReference(round),
  };
}
