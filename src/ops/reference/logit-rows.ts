/** What becomes of a row of logits before its softmax: LogitRows of `native/ops.h`. */

import { bitsOf } from "../halves.ts";
import type { Floats, LogprobsInputs, RowTargets, Typed, Values } from "../ops.ts";
import type { Round } from "./arithmetic.ts";

/** Row t: y and z `[V]`, and which entries its support holds. */
export interface LogitRow {
  readonly y: Float64Array;
  readonly z: Float64Array;
  readonly kept: (v: number) => boolean;
}

export function temperatureOf(args: Pick<RowTargets, "temperature">, t: number): number {
  const temperature = args.temperature ?? 1;
  return typeof temperature === "number" ? temperature : temperature[t];
}

/** V of `logits [T, V]`; 0 without rows. */
export function vocabularyOf(logits: Floats, targetOffsets: Int32Array): number {
  const T = targetOffsets.length - 1;
  return T === 0 ? 0 : logits.length / T;
}

export function logitRow(args: Omit<LogprobsInputs, "logits">, logits: Floats, t: number, round: Round): LogitRow {
  const { logitScale = 1, softcap, keep } = args;
  const V = vocabularyOf(logits, args.targetOffsets);
  const temperature = temperatureOf(args, t);
  const y = new Float64Array(V);
  const z = new Float64Array(V);
  for (let v = 0; v < V; v++) {
    const scaled = round(logitScale * logits[t * V + v]);
    y[v] = softcap === undefined ? scaled : round(softcap * round(Math.tanh(round(scaled / softcap))));
    z[v] = round(y[v] / temperature);
  }
  const bytes = Math.ceil(V / 8);
  const kept = (v: number) => keep === undefined || ((keep[t * bytes + (v >> 3)] >> (v & 7)) & 1) === 1;
  return { y, z, kept };
}

/** The targets of row t that are not ignored, as indices n. */
export function countedTargets({ targetOffsets, targets, ignoreIndex }: RowTargets, t: number): readonly number[] {
  const counted: number[] = [];
  for (let n = targetOffsets[t]; n < targetOffsets[t + 1]; n++) if (targets[n] !== ignoreIndex) counted.push(n);
  return counted;
}

/** ∂z/∂logit at an entry: what an upstream gradient is multiplied by. */
export function throughChain(d: number, args: RowTargets, t: number, y: number, round: Round): number {
  const { logitScale = 1, softcap } = args;
  const scaled = round(round(d / temperatureOf(args, t)) * logitScale);
  return softcap === undefined ? scaled : round(scaled * round(1 - round((y / softcap) ** 2)));
}

/** A place to write numbers of the type of `like`: floats, and how they reach the array that was passed. */
export function valuesOutput(
  like: Values,
  given: Values | undefined,
  length: number,
): { readonly write: (row: Float64Array, at: number) => void; readonly values: Values } {
  if (!("dtype" in like)) {
    const floats = (given as Floats | undefined) ?? new Float64Array(length);
    return { write: (row, at) => floats.set(row, at), values: floats };
  }
  const { dtype } = like;
  const data = (given as Typed | undefined)?.data ?? new (dtype === "f32" ? Float32Array : Uint16Array)(length);
  return { write: (row, at) => data.set(dtype === "f32" ? row : bitsOf(dtype, row), at), values: { dtype, data } };
}
