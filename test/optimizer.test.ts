import { describe, expect, it } from "vitest";
import { openOps } from "../src/ops/native.ts";
import { reference } from "../src/ops/reference.ts";
import { AdamW } from "../src/optimizer.ts";
import { randomArrays } from "./support/arrays.ts";
import { bits } from "./support/close.ts";

const truth = reference();
const native = openOps("cpu");

describe("AdamW", () => {
  it("makes the steps worked by hand", () => {
    // g = 2, then −1, with β₁ = 0.5, β₂ = 0.75, lr = 0.1, decay = 0.5, eps = 0.
    const adamw = new AdamW({ lr: 0.1, beta1: 0.5, beta2: 0.75, eps: 0, weightDecay: 0.5 });
    const params = Float64Array.of(4);
    // m = 1, v = 1; unbiased m = 1 / 0.5 = 2, v = 1 / 0.25 = 4; direction 2 / 2 + 0.5 · 4 = 3
    expect(adamw.step(truth, params, Float64Array.of(2))).toBe(2);
    expect(params[0]).toBeCloseTo(3.7, 14);
    // m = 0.5 − 0.5 = 0, v = 0.75 + 0.25 = 1; direction 0 + 0.5 · 3.7 = 1.85
    expect(adamw.step(truth, params, Float64Array.of(-1))).toBe(1);
    expect(params[0]).toBeCloseTo(3.7 - 0.185, 14);
    expect(adamw.steps).toBe(2);
  });

  it("first moves every parameter by the rate against the sign of its gradient", () => {
    const params = Float32Array.of(1, 1, 1);
    new AdamW({ lr: 0.25, eps: 0 }).step(native, params, Float32Array.of(1e-6, -3, 0.5));
    expect([...params]).toEqual([0.75, 1.25, 0.75]);
  });

  it("follows the reference over many steps on the native ops, the rate set anew before each", () => {
    const draws = randomArrays(4);
    const options = { lr: 0, beta1: 0.8, beta2: 0.95, weightDecay: 0.1, maxGradNorm: 3 };
    const [own, plain] = [new AdamW(options), new AdamW(options)];
    const params = draws.normals(500);
    const expected = Float64Array.from(params);
    for (let step = 0; step < 12; step++) {
      const grads = draws.normals(500, step % 2 === 0 ? 1 : 0.01);
      own.lr = plain.lr = 0.01 * (step + 1);
      const norm = plain.step(truth, expected, Float64Array.from(grads));
      expect(own.step(native, params, grads)).toBeCloseTo(norm, 5);
    }
    params.forEach((value, i) => expect(Math.abs(value - expected[i])).toBeLessThan(2e-6));
  });

  it("scales a gradient down to the largest norm, and leaves a shorter one alone", () => {
    const steps = (grads: readonly number[][], maxGradNorm?: number): number[] => {
      const adamw = new AdamW({ lr: 0.1, ...(maxGradNorm !== undefined && { maxGradNorm }) });
      const params = new Float64Array(2);
      const norms = grads.map((grad) => adamw.step(truth, params, Float64Array.from(grad)));
      return [...params, ...norms];
    };
    // ‖(30, 40)‖ = 50 becomes ‖(3, 4)‖ = 5; the norm that is given is the one before.
    const clipped = steps(
      [
        [30, 40],
        [3, -1],
      ],
      5,
    );
    const byHand = steps([
      [3, 4],
      [3, -1],
    ]);
    expect(clipped[0]).toBeCloseTo(byHand[0], 12);
    expect(clipped[1]).toBeCloseTo(byHand[1], 12);
    expect(clipped[2]).toBe(50);
    expect(steps([[3, 4]], 5)).toEqual(steps([[3, 4]]));
    expect(
      steps([
        [30, 40],
        [3, -1],
      ])[0],
    ).not.toBeCloseTo(byHand[0], 6);
  });

  it.each([NaN, Infinity, -Infinity])("refuses a gradient with %s and changes nothing", (wrong) => {
    const [tried, untried] = [new AdamW({ lr: 0.1 }), new AdamW({ lr: 0.1 })];
    const [params, expected] = [Float32Array.of(1, 2), Float32Array.of(1, 2)];
    const grads = Float32Array.of(0.5, -0.25);
    tried.step(native, params, grads);
    untried.step(native, expected, grads);
    expect(() => tried.step(native, params, Float32Array.of(1, wrong))).toThrow(
      /AdamW: expected a finite gradient, received one of norm .*no step was made/,
    );
    expect(bits(params)).toBe(bits(expected));
    expect(tried.steps).toBe(1);
    tried.step(native, params, grads);
    untried.step(native, expected, grads);
    expect(bits(params)).toBe(bits(expected));
  });

  it("counts no step that the op refused", () => {
    const adamw = new AdamW({ lr: -1 });
    expect(() => adamw.step(native, Float32Array.of(1), Float32Array.of(1))).toThrow(/adamw: expected lr/);
    expect(adamw.steps).toBe(0);
  });

  it("keeps moments for arrays of one length", () => {
    const adamw = new AdamW({ lr: 0.1 });
    adamw.step(native, new Float32Array(3), new Float32Array(3));
    expect(() => adamw.step(native, new Float32Array(2), new Float32Array(2))).toThrow(/m \[count\].*length 2/);
  });

  it.each([0, -1, NaN])("refuses a largest norm of %s", (maxGradNorm) => {
    expect(() => new AdamW({ lr: 0.1, maxGradNorm })).toThrow(/maxGradNorm to be above 0/);
  });

  it("goes on from its state, and refuses one that is not whole or of other parameters", () => {
    const ops = reference();
    const [whole, resumed] = [new AdamW({ lr: 0.1 }), new AdamW({ lr: 0.1 })];
    const [a, b] = [Float64Array.of(1, 2), Float64Array.of(1, 2)];
    whole.step(ops, a, Float64Array.of(0.5, -1));
    b.set(a);
    const { steps, m, v } = whole.state;
    resumed.restore({ steps, m: m.slice(), v: v.slice() });
    whole.step(ops, a, Float64Array.of(0.25, 3));
    resumed.step(ops, b, Float64Array.of(0.25, 3));
    expect(b).toEqual(a);
    expect(resumed.steps).toBe(2);
    expect(() => resumed.restore({ steps: 1, m, v: v.slice(1) })).toThrow("received 2 and 1 after 1 steps");
    expect(() => resumed.restore({ steps: 0, m, v })).toThrow("received 2 and 2 after 0 steps");
  });
});
