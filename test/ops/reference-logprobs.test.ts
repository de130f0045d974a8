import { describe, expect, it } from "vitest";
import { reference } from "../../src/ops/reference.ts";
import { randomArrays } from "../support/arrays.ts";
import { dot, expectGradient } from "../support/differences.ts";

const ops = reference();
const one = { targetOffsets: Int32Array.of(0, 1), targets: Int32Array.of(0) };
const row = (...logits: number[]) => Float64Array.from(logits);

describe("logprobs", () => {
  it("gives the log-probability of a target, and the entropy of its row", () => {
    // p = (1/2, 1/4, 1/4): entropy ½ ln 2 + 2 · ¼ ln 4 = 1.5 ln 2; Σ p² = 1/4 + 1/16 + 1/16
    const { logprobs, lse, entropy, sumSquares } = ops.logprobs({
      ...one,
      logits: row(Math.log(2), 0, 0),
      entropy: true,
      sumSquares: true,
    });
    expect(logprobs[0]).toBeCloseTo(-Math.LN2, 14);
    expect(lse[0]).toBeCloseTo(Math.log(4), 14);
    expect(entropy![0]).toBeCloseTo(1.5 * Math.LN2, 14);
    expect(sumSquares![0]).toBeCloseTo(0.375, 14);
  });

  it("divides logits by the temperature of their row", () => {
    const targetOffsets = Int32Array.of(0, 1, 2);
    const targets = Int32Array.of(0, 0);
    const { logprobs } = ops.logprobs({
      logits: row(2 * Math.log(3), 0, Math.log(3), 0),
      targetOffsets,
      targets,
      temperature: Float64Array.of(2, 1),
    });
    expect(logprobs[0]).toBeCloseTo(Math.log(0.75), 14);
    expect(logprobs[1]).toBeCloseTo(Math.log(0.75), 14);
  });

  it("does not overflow at logits of 1e4", () => {
    const { logprobs, lse } = ops.logprobs({ ...one, logits: row(1e4, 1e4, -1e4) });
    expect(logprobs[0]).toBeCloseTo(-Math.LN2, 14);
    expect(lse[0]).toBeCloseTo(1e4 + Math.LN2, 11);
  });

  it("keeps the relative accuracy of a confident target", () => {
    const { logprobs } = ops.logprobs({ ...one, logits: row(60, 0) });
    expect(logprobs[0] / -Math.exp(-60)).toBeCloseTo(1, 12);
  });

  it("takes −∞ logits as masked vocabulary", () => {
    const masked = ops.logprobs({ ...one, logits: row(-Infinity, 3, 3), entropy: true });
    expect(masked.logprobs[0]).toBe(-Infinity);
    expect(masked.entropy![0]).toBeCloseTo(Math.LN2, 14);
    const all = ops.logprobs({ ...one, logits: row(-Infinity, -Infinity), entropy: true });
    expect([all.lse[0], all.logprobs[0], all.entropy![0]]).toEqual([-Infinity, -Infinity, 0]);
  });

  it("leaves the outputs of rows without targets alone", () => {
    const lse = Float64Array.of(7, 7);
    ops.logprobs({ logits: row(0, 0), targetOffsets: Int32Array.of(0, 0, 1), targets: Int32Array.of(0), lse });
    expect(Array.from(lse)).toEqual([7, 0]);
  });
});

describe("logprobsBackward", () => {
  it("pulls the target up and the others down by their probability", () => {
    // p = (1/2, 1/4, 1/4), upstream 2: 2 (1 − ½), −2 · ¼, −2 · ¼
    const logits = row(Math.log(2), 0, 0);
    const dlogits = ops.logprobsBackward({
      ...one,
      logits,
      lse: Float64Array.of(Math.log(4)),
      dlogprobs: Float64Array.of(2),
    });
    [1, -0.5, -0.5].forEach((expected, v) => expect(dlogits[v]).toBeCloseTo(expected, 14));
  });

  it("is the slope of log-probs and entropies, with three targets in a row and a temperature per row", () => {
    const draw = randomArrays(1);
    const logits = Float64Array.from(draw.normals(4 * 6));
    const rows = {
      logits,
      targetOffsets: Int32Array.of(0, 1, 1, 4, 5),
      targets: Int32Array.of(2, 5, 5, 0, 3),
      temperature: Float64Array.of(1, 0.7, 0.5, 2),
    };
    const dlogprobs = draw.normals(5);
    const dentropy = draw.normals(4);
    const objective = () => {
      const { logprobs, entropy } = ops.logprobs({ ...rows, entropy: true });
      return dot(dlogprobs, logprobs) + dot(dentropy, entropy!);
    };
    const { lse, entropy } = ops.logprobs({ ...rows, entropy: true });
    const dlogits = ops.logprobsBackward({ ...rows, lse, entropy: entropy!, dlogprobs, dentropy });
    expectGradient(dlogits, objective, logits, "dlogits");
  });

  it("does not cancel 1 − p of a confident target", () => {
    const logits = row(60, 0);
    const { lse } = ops.logprobs({ ...one, logits });
    const dlogits = ops.logprobsBackward({ ...one, logits, lse, dlogprobs: Float64Array.of(1) });
    expect(dlogits[0] / Math.exp(-60)).toBeCloseTo(1, 10);
  });

  it("is exactly 0 at masked vocabulary, even under a masked target", () => {
    const logits = row(-Infinity, 1, 2);
    const { lse } = ops.logprobs({ ...one, logits });
    const dlogits = ops.logprobsBackward({ ...one, logits, lse, dlogprobs: Float64Array.of(3) });
    expect(dlogits[0]).toBe(0);
    expect(dlogits[1] + dlogits[2]).toBeCloseTo(-3, 14);
  });

  it("is exactly 0 in a row whose gradients are 0, whatever its logits are", () => {
    const dlogits = ops.logprobsBackward({
      ...one,
      logits: row(NaN, Infinity, 1),
      lse: Float64Array.of(NaN),
      dlogprobs: Float64Array.of(0),
    });
    expect(Array.from(dlogits)).toEqual([0, 0, 0]);
  });

  it("may overwrite the logits", () => {
    const logits = row(0.5, -1, 2);
    const { lse } = ops.logprobs({ ...one, logits });
    const args = { ...one, lse, dlogprobs: Float64Array.of(1) };
    const apart = ops.logprobsBackward({ ...args, logits });
    expect(ops.logprobsBackward({ ...args, logits, dlogits: logits })).toEqual(apart);
  });
});
