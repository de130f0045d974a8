import { expect } from "vitest";

export interface CloseOptions {
  /** units in the last place beyond twice the error of plain code; default 4 */
  readonly ulps?: number;
  /** what is compared, for the message */
  readonly what: string;
  /** the largest magnitude that an intermediate of the result passes through, where that exceeds the result's own */
  readonly scale?: number;
  /** relative spacing of the kernel's numbers: 2⁻²³ (float32, default) or 2⁻⁵² */
  readonly spacing?: number;
}

/**
 * Asserts |kernel − truth| ≤ 2 · max|plain − truth| + ulps · ulp(max(|truth|, scale)) for every element: a kernel may be twice
 * as wrong as plain code at its precision, and a few units in the last place. Infinities and NaN must be equal.
 */
export function expectClose(
  kernel: ArrayLike<number>,
  truth: ArrayLike<number>,
  plain: ArrayLike<number>,
  { ulps = 4, what, scale = 0, spacing = 2 ** -23 }: CloseOptions,
): void {
  expect(kernel.length, `${what}: length`).toBe(truth.length);
  let plainError = 0;
  for (let i = 0; i < truth.length; i++) {
    const error = Math.abs(plain[i] - truth[i]);
    if (Number.isFinite(error)) plainError = Math.max(plainError, error);
  }
  const failures: string[] = [];
  let worst = 0;
  for (let i = 0; i < truth.length; i++) {
    if (!Number.isFinite(truth[i]) || !Number.isFinite(kernel[i])) {
      if (!Object.is(kernel[i], truth[i])) failures.push(`[${i}] ${kernel[i]}, expected ${truth[i]}`);
      continue;
    }
    const error = Math.abs(kernel[i] - truth[i]);
    worst = Math.max(worst, error);
    if (error > 2 * plainError + ulps * ulp(Math.max(Math.abs(truth[i]), scale), spacing)) {
      failures.push(`[${i}] ${kernel[i]}, expected ${truth[i]}: off by ${error.toExponential(2)}`);
    }
  }
  if (failures.length === 0) return;
  expect.fail(
    `${what}: ${failures.length} of ${truth.length} elements wrong; largest error of the kernel ${worst.toExponential(2)}, ` +
      `of plain code ${plainError.toExponential(2)}\n  ${failures.slice(0, 5).join("\n  ")}`,
  );
}

/** The spacing of floats at a magnitude. */
export function ulp(magnitude: number, spacing = 2 ** -23): number {
  return 2 ** Math.max(Math.floor(Math.log2(magnitude)), -126) * spacing;
}

/** The bytes of an array, for comparisons that mean "the same bits". */
export function bits(array: Float32Array | Float64Array | Int32Array): string {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("hex");
}
