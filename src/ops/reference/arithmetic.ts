import type { Floats } from "../ops.ts";

/** Rounds a float64 to the precision being modelled. */
export type Round = (x: number) => number;

export const identity: Round = (x) => x;

/** The largest float32: where an unbounded ratio saturates. */
export const largestFloat = 2 ** 128 - 2 ** 104;

export function clamp(x: number, low: number, high: number): number {
  return x < low ? low : x > high ? high : x;
}

/** The output that was passed, or a new one; `undefined` where an optional output was not asked for. */
export function output(given: Floats | true | undefined, length: number): Floats {
  return given === undefined || given === true ? new Float64Array(length) : given;
}

export function optionalOutput(given: Floats | true | undefined, length: number): Floats | undefined {
  return given === undefined ? undefined : output(given, length);
}
