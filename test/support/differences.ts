import { expect } from "vitest";

/** ∂f/∂x by central differences, in place on x and undone after each element. */
export function centralDifferences(f: () => number, x: Float64Array, step = 1e-5): Float64Array {
  return x.map((value, i) => {
    x[i] = value + step;
    const above = f();
    x[i] = value - step;
    const below = f();
    x[i] = value;
    return (above - below) / (2 * step);
  });
}

/** Asserts that a gradient is the slope of f: the error of central differences is about step² and rounding / step. */
export function expectGradient(gradient: ArrayLike<number>, f: () => number, x: Float64Array, what: string): void {
  const expected = centralDifferences(f, x);
  const size = expected.reduce((largest, d) => Math.max(largest, Math.abs(d)), 1);
  expect(gradient.length, what).toBe(x.length);
  for (let i = 0; i < x.length; i++) {
    expect(
      Math.abs(gradient[i] - expected[i]),
      `${what}[${i}] ${gradient[i]}, by differences ${expected[i]}`,
    ).toBeLessThan(1e-8 * size);
  }
}

/** Σ a · b: turns an array-valued op into the number whose gradient its backward gives. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
