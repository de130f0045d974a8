import type { Floats, Ops, PolicyLossMetrics } from "../../../src/ops/ops.ts";

/** What an op wrote, by name; integers must be equal, floats close. */
export type Outcome = Readonly<Record<string, Floats | Int32Array>>;

export interface OpCase {
  readonly op: string;
  readonly name: string;
  /** Calls the op once on fresh arrays of `make`'s precision where it writes; inputs are Float32Array. */
  run(ops: Ops, make: Make): Outcome;
  /** By output: the largest magnitude its intermediates pass through, where that exceeds the result's own. */
  readonly scale?: Readonly<Record<string, number>>;
  /** Units in the last place allowed, where it is not 4; say why. */
  readonly ulps?: number;
}

/** Arrays of one precision. */
export interface Make {
  copy(values: ArrayLike<number>): Floats;
  /** `length` entries of a value that an op must overwrite, or must leave alone */
  filled(length: number, value?: number): Floats;
}

/** What outputs hold before an op runs. */
export const untouched = 7.5;

export const float32: Make = {
  copy: (values) => Float32Array.from(values),
  filled: (length, value = untouched) => new Float32Array(length).fill(value),
};

export const float64: Make = {
  copy: (values) => Float64Array.from(values),
  filled: (length, value = untouched) => new Float64Array(length).fill(value),
};

/** Metrics as outputs of one number each. */
export function metricOutcome(metrics: PolicyLossMetrics): Outcome {
  return Object.fromEntries(
    Object.entries(metrics).map(([key, value]: [string, number]) => [key, Float64Array.of(value)]),
  );
}

/** Offsets [T + 1] from the number of targets of every row. */
export function offsetsOf(counts: readonly number[]): Int32Array {
  const offsets = new Int32Array(counts.length + 1);
  counts.forEach((count, t) => (offsets[t + 1] = offsets[t] + count));
  return offsets;
}
