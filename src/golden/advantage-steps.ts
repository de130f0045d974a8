/** Vectors of process supervision: steps of one group, their scattering to tokens, and values measured by sampling. */
import { stepAdvantages, stepOfTokens, vineAdvantages } from "../advantages/index.ts";
import type { Ops } from "../ops/ops.ts";
import { mapBoundaries } from "../trajectory/index.ts";
import { layoutOf } from "./layout.ts";
import { scatter } from "./scatter.ts";
import {
  flatten,
  requiredNumber,
  rows,
  toNumber,
  type Computed,
  type GoldenVector,
  type Json,
  type Precision,
} from "./vector.ts";

export function computeStepAdvantage(vector: GoldenVector): Computed {
  return { values: { step_advantages: stepAdvantagesOf(vector) } };
}

export function computeStepAdvantageTokens(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const mask = rows(vector.inputs["mask"], "mask");
  const steps = rows(vector.inputs["step_ends"], "step_ends").map((ends) =>
    ends.map((last, k) => ({ start: k === 0 ? 0 : ends[k - 1] + 1, end: last + 1 })),
  );
  const stepOf = stepOfTokens({ sequenceOffsets: layoutOf(mask).rowOffsets, mask: mask.flat(), steps });
  return { values: { advantages: scatter(ops, precision, stepAdvantagesOf(vector), stepOf) } };
}

/** An end marker has no characters of its own and belongs to the last step. */
export function computeVineStepAdvantage(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const { inputs } = vector;
  const stepRewards = flatten(inputs["step_rewards"], "step_rewards");
  if (!Array.isArray(inputs["values"])) throw new Error("expected values to be a list");
  const values = inputs["values"] as readonly Json[];
  const advantages = vineAdvantages({
    stepRewards,
    values: stepRewards.map((_, k) => (values[k] === null ? Number.NaN : toNumber(values[k], "values"))),
    stepOffsets: Int32Array.of(0, stepRewards.length),
  });
  const stepStarts = flatten(inputs["step_char_start"], "step_char_start");
  const tokenStarts = flatten(inputs["token_char_start"], "token_char_start");
  const charRanges = stepRewards.map((_, k) => ({ start: stepStarts[k], end: stepStarts[k + 1] }));
  const tokens = tokenStarts.length + (inputs["has_eos"] === true ? 1 : 0);
  const stepOf = new Int32Array(tokens);
  for (const { start, end } of mapBoundaries(charRanges, tokenStarts, tokens)) {
    stepOf.fill(
      charRanges.findIndex((range) => tokenStarts[start] < range.end),
      start,
      end,
    );
  }
  return { values: { step_advantages: advantages, token_advantages: scatter(ops, precision, advantages, stepOf) } };
}

function stepAdvantagesOf({ inputs, options }: GoldenVector): Float64Array {
  const stepRewards = rows(inputs["step_rewards"], "step_rewards");
  const stepOffsets = new Int32Array(stepRewards.length + 1);
  stepRewards.forEach((row, l) => (stepOffsets[l + 1] = stepOffsets[l] + row.length));
  return stepAdvantages({
    stepRewards: stepRewards.flat(),
    stepOffsets,
    gamma: requiredNumber(options, "gamma"),
    eps: requiredNumber(options, "eps"),
    ddof: requiredNumber(options, "ddof"),
  });
}
