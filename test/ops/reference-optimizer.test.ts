import { describe, expect, it } from "vitest";
import { reference } from "../../src/ops/reference.ts";

const ops = reference();

describe("gradNorm", () => {
  it("is the Euclidean length", () => {
    expect(ops.gradNorm({ grads: Float64Array.of(3, 0, -4) })).toBe(5);
    expect(ops.gradNorm({ grads: new Float64Array(0) })).toBe(0);
  });
});

describe("adamw", () => {
  const settings = { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 0, weightDecay: 0, gradScale: 1 };

  it("moves by the learning rate against the sign of the gradient in its first step", () => {
    const [params, m, v] = [Float64Array.of(1, 1), new Float64Array(2), new Float64Array(2)];
    ops.adamw({ ...settings, params, grads: Float64Array.of(5, -0.01), m, v, step: 1 });
    expect(params[0]).toBeCloseTo(0.9, 14);
    expect(params[1]).toBeCloseTo(1.1, 14);
  });

  it("corrects the bias of both moments, scales the gradient and decays the weight by itself", () => {
    const [params, m, v] = [Float64Array.of(2), Float64Array.of(0.5), Float64Array.of(0.25)];
    ops.adamw({
      ...settings,
      beta2: 0.5,
      eps: 0.5,
      weightDecay: 0.25,
      gradScale: 0.5,
      params,
      grads: Float64Array.of(4),
      m,
      v,
      step: 2,
    });
    // g = 2; m = 0.45 + 0.2 = 0.65, m̂ = 0.65 / 0.19; v = 0.125 + 2 = 2.125, v̂ = 2.125 / 0.75
    expect(m[0]).toBeCloseTo(0.65, 14);
    expect(v[0]).toBeCloseTo(2.125, 14);
    expect(params[0]).toBeCloseTo(2 - 0.1 * (0.65 / 0.19 / (Math.sqrt(2.125 / 0.75) + 0.5) + 0.25 * 2), 13);
  });
});
