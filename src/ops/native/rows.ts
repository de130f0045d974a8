/** Fields that the ops on rows of logits share: which targets a row has, at which temperature. */

import type { Check } from "../check.ts";
import type { Floats, LinearLogprobsInputs, LogprobsInputs } from "../ops.ts";

export interface TargetFields {
  readonly T: number;
  readonly N: number;
  readonly targetOffsets: Int32Array;
  readonly targets: Int32Array;
  readonly temperature: number;
  readonly temperatures: Float32Array | undefined;
}

/** The rows' targets and temperatures; the range of the targets is left to the caller, who knows V. */
export function targetFields(
  check: Check,
  args: Pick<LogprobsInputs, "targetOffsets" | "targets" | "temperature">,
): TargetFields {
  const targets = check.ints("targets", "[N]", args.targets);
  const N = targets.length;
  const targetOffsets = check.offsets("targetOffsets", "[T + 1]", args.targetOffsets, N);
  const T = targetOffsets.length - 1;
  const given = args.temperature ?? 1;
  const perRow = typeof given !== "number";
  const temperatures = perRow ? check.floats("temperature", "[T]", given, T) : undefined;
  if (temperatures !== undefined) {
    const wrong = temperatures.findIndex((value) => !(value > 0 && value < Infinity));
    if (wrong >= 0) check.fail("temperature [T] to be positive", `${temperatures[wrong]} at index ${wrong}`);
  }
  const temperature = perRow ? 1 : check.positive("temperature", given);
  return { T, N, targetOffsets, targets, temperature, temperatures };
}

export interface RowFields extends TargetFields {
  readonly V: number;
  /** 0: f32 */
  readonly dtype: number;
  readonly ignoreIndex: number;
  readonly logitScale: number;
  readonly softcap: number;
  readonly logits: Float32Array;
}

export function rowFields(check: Check, args: LogprobsInputs): RowFields {
  const fields = targetFields(check, args);
  const { T } = fields;
  const logits = check.floats("logits", "[T, V]", args.logits);
  const V = T === 0 ? 1 : logits.length / T;
  if (!Number.isInteger(V) || (T > 0 && V === 0)) {
    check.fail(`the length of logits [T, V] to be a positive multiple of T = ${T}`, String(logits.length));
  }
  check.range("targets", "[N]", fields.targets, 0, V - 1);
  return { ...fields, V, dtype: 0, ignoreIndex: -1, logitScale: 1, softcap: 0, logits };
}

export interface HeadFields extends TargetFields {
  readonly V: number;
  readonly H: number;
  readonly hiddenDtype: number;
  readonly weightDtype: number;
  readonly ignoreIndex: number;
  readonly hidden: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array | undefined;
  readonly logitScale: number;
  readonly softcap: number;
}

/** V is the length of an array `[V]` where there is one: without rows, H cannot be told from `hidden [T, H]`. */
export function headFields(check: Check, args: LinearLogprobsInputs, perToken: Floats | undefined): HeadFields {
  const fields = targetFields(check, args);
  const { T } = fields;
  const hidden = check.floats("hidden", "[T, H]", args.hidden);
  const weight = check.floats("weight", "[V, H]", args.weight);
  let [V, H] = [perToken?.length ?? 1, weight.length];
  if (T > 0) {
    H = check.rows("hidden", "[T, H]", hidden.length, T);
    V = check.rows("weight", "[V, H]", weight.length, H);
    if (V === 0) check.fail("weight [V, H] to have a row", "none");
  } else {
    check.floats("hidden", "[T, H]", hidden, 0);
    H = V === 0 ? 0 : check.rows("weight", "[V, H]", weight.length, V);
  }
  check.range("targets", "[N]", fields.targets, 0, V - 1);
  return {
    ...fields,
    V,
    H,
    hiddenDtype: 0,
    weightDtype: 0,
    ignoreIndex: -1,
    hidden,
    weight,
    bias: check.optionalFloats("bias", "[V]", args.bias, V),
    logitScale: check.positive("logitScale", args.logitScale ?? 1),
    softcap: args.softcap === undefined ? 0 : check.positive("softcap", args.softcap),
  };
}
