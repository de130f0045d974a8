/** Fields that the ops on rows of logits share: which targets a row has, and what is done to its logits. */

import type { Check } from "../check.ts";
import type { Floats, LinearLogprobsInputs, LogprobsInputs, RowTargets, Values } from "../ops.ts";

export interface TargetFields {
  readonly T: number;
  readonly N: number;
  readonly targetOffsets: Int32Array;
  readonly targets: Int32Array;
  /** −1: none */
  readonly ignoreIndex: number;
  readonly temperature: number;
  readonly temperatures: Float32Array | undefined;
  readonly logitScale: number;
  /** 0: none */
  readonly softcap: number;
}

/** The rows' targets, temperatures and the like; the range of the targets is left to the caller, who knows V. */
export function targetFields(check: Check, args: RowTargets): TargetFields {
  const targets = check.ints("targets", "[N]", args.targets);
  const N = targets.length;
  const targetOffsets = check.offsets("targetOffsets", "[T + 1]", args.targetOffsets, N);
  const T = targetOffsets.length - 1;
  const given = args.temperature ?? 1;
  const perRow = typeof given !== "number";
  const temperatures = perRow ? check.hostFloats("temperature", "[T]", given, T) : undefined;
  if (temperatures !== undefined) {
    const wrong = temperatures.findIndex((value) => !(value > 0 && value < Infinity));
    if (wrong >= 0) check.fail("temperature [T] to be positive", `${temperatures[wrong]} at index ${wrong}`);
  }
  return {
    T,
    N,
    targetOffsets,
    targets,
    ignoreIndex:
      args.ignoreIndex === undefined ? -1 : check.integer("ignoreIndex", args.ignoreIndex, -(2 ** 31), 2 ** 31 - 1),
    temperature: perRow ? 1 : check.positive("temperature", given),
    temperatures,
    logitScale: check.positive("logitScale", args.logitScale ?? 1),
    softcap: args.softcap === undefined ? 0 : check.positive("softcap", args.softcap),
  };
}

export interface RowFields extends TargetFields {
  readonly V: number;
  readonly dtype: number;
  readonly logits: Float32Array | Uint16Array;
  readonly keep: Uint8Array | undefined;
}

export function rowFields(check: Check, args: LogprobsInputs<Values>): RowFields {
  const fields = targetFields(check, args);
  const { T } = fields;
  const { dtype, data: logits } = check.values("logits", "[T, V]", args.logits);
  const V = T === 0 ? 1 : logits.length / T;
  if (!Number.isInteger(V) || (T > 0 && V === 0)) {
    check.fail(`the length of logits [T, V] to be a positive multiple of T = ${T}`, String(logits.length));
  }
  check.indices("targets", "[N]", fields.targets, V, args.ignoreIndex);
  const keep = check.optionalBytes("keep", "[T, ⌈V / 8⌉]", args.keep, T * Math.ceil(V / 8));
  return { ...fields, V, dtype, logits, keep };
}

/** The gradient of the logits: where it is returned from, and where the kernel writes it. */
export function dlogitsFields(
  check: Check,
  args: { readonly logits: Values; readonly dlogits?: Values },
  rows: RowFields,
): { readonly dlogits: Values; readonly data: Float32Array | Uint16Array } {
  const dlogits = check.valuesLike("dlogits", "[T, V]", args.dlogits, args.logits, rows.logits.length);
  return { dlogits, data: check.values("dlogits", "[T, V]", dlogits).data };
}

export interface HeadFields extends TargetFields {
  readonly V: number;
  readonly H: number;
  readonly hiddenDtype: number;
  readonly hidden: Float32Array | Uint16Array;
  readonly weightDtype: number;
  readonly weight: Float32Array | Uint16Array;
  readonly bias: Float32Array | undefined;
}

/** V is the length of an array `[V]` where there is one: without rows, H cannot be told from `hidden [T, H]`. */
export function headFields(check: Check, args: LinearLogprobsInputs, perToken: Floats | undefined): HeadFields {
  const fields = targetFields(check, args);
  const { T } = fields;
  const { dtype: hiddenDtype, data: hidden } = check.values("hidden", "[T, H]", args.hidden);
  const { dtype: weightDtype, data: weight } = check.values("weight", "[V, H]", args.weight);
  let [V, H] = [perToken?.length ?? 1, weight.length];
  if (T > 0) {
    H = check.rows("hidden", "[T, H]", hidden.length, T);
    V = check.rows("weight", "[V, H]", weight.length, H);
    if (V === 0) check.fail("weight [V, H] to have a row", "none");
  } else {
    check.values("hidden", "[T, H]", args.hidden, 0);
    H = V === 0 ? 0 : check.rows("weight", "[V, H]", weight.length, V);
  }
  check.indices("targets", "[N]", fields.targets, V, args.ignoreIndex);
  const bias = check.optionalFloats("bias", "[V]", args.bias, V);
  return { ...fields, V, H, hiddenDtype, hidden, weightDtype, weight, bias };
}
