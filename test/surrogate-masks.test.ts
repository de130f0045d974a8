import { describe, expect, it } from "vitest";
import {
  binaryKlMask,
  clippedCovarianceMask,
  covariances,
  largestCovarianceMask,
  movementMask,
  totalVariationMask,
} from "../src/surrogate-masks.ts";

// p − q: +¼, +¼, −¼, −¼
const movement = {
  logprobs: Float64Array.of(0.5, 0.5, 0.25, 0.25).map(Math.log),
  anchorLogprobs: Float64Array.of(0.25, 0.25, 0.5, 0.5).map(Math.log),
};
const both = Float64Array.of(1, -1, 1, -1, 1, -1, 1, -1);

describe("a mask per advantage", () => {
  it("drops a move that is too large in the direction of the advantage", () => {
    const args = { ...movement, advantages: Float64Array.of(1, -1, 1, -1), epsLow: 0.2, epsHigh: 0.2 };
    expect([...totalVariationMask(args)]).toEqual([0, 1, 1, 0]);
    expect([...totalVariationMask({ ...args, epsLow: 0.3 })]).toEqual([0, 1, 1, 1]);
    expect([...totalVariationMask({ ...args, epsHigh: 0.3 })]).toEqual([1, 1, 1, 0]);
  });

  it("decides about the two signs of a shared target apart", () => {
    const args = { ...movement, advantages: both, epsLow: 0.2, epsHigh: 0.2 };
    expect([...totalVariationMask(args)]).toEqual([0, 1, 0, 1, 1, 0, 1, 0]);
  });

  it("measures by the KL divergence of taking the token or not", () => {
    // q = ¼, p = ½: ¼ ln ½ + ¾ ln 3⁄2 = 0.1308; q = ½, p = ¼: ½ ln 2 + ½ ln ⅔ = 0.1438
    const args = { ...movement, advantages: both, epsLow: 0.143, epsHigh: 0.131 };
    expect([...binaryKlMask(args)]).toEqual([1, 1, 1, 1, 1, 0, 1, 0]);
    expect([...binaryKlMask({ ...args, epsLow: 0.144, epsHigh: 0.13 })]).toEqual([0, 1, 0, 1, 1, 1, 1, 1]);
  });
});

describe("a mask per target", () => {
  it("drops moves beyond the bounds whatever the advantage", () => {
    expect([...movementMask({ ...movement, epsLow: 0.2, epsHigh: 0.3 })]).toEqual([1, 1, 0, 0]);
    expect([...movementMask({ ...movement, epsLow: Infinity, epsHigh: 0.2 })]).toEqual([0, 0, 1, 1]);
  });
});

describe("covariances of advantage and log-prob", () => {
  // means −2 and 1; deviations (1, 0, −1) and (2, −1, −1)
  const args = { logprobs: Float64Array.of(-1, -2, -3), advantages: Float64Array.of(3, 0, 0) };

  it("are products of the deviations from the means", () => {
    expect([...covariances(args)]).toEqual([2, -0, 1]);
  });

  it("mark the largest, and at least one", () => {
    expect([...largestCovarianceMask({ ...args, share: 0 })]).toEqual([1, 0, 0]);
    expect([...largestCovarianceMask({ ...args, share: 0.7 })]).toEqual([1, 0, 1]);
    expect([...largestCovarianceMask({ ...args, share: 1 })]).toEqual([1, 1, 1]);
  });

  it("drop what lies between the bounds, unless the clip of the ratio has already cut it", () => {
    const bounds = { epsLow: 0.2, epsHigh: 0.2, low: 0.5, high: 5 };
    expect([...clippedCovarianceMask({ ...args, oldLogprobs: args.logprobs, ...bounds })]).toEqual([0, 1, 0]);
    expect([...clippedCovarianceMask({ ...args, oldLogprobs: args.logprobs, ...bounds, high: 1.5 })]).toEqual([
      1, 1, 0,
    ]);
    const risen = Float64Array.of(-1.5, -2, -3);
    expect([...clippedCovarianceMask({ ...args, oldLogprobs: risen, ...bounds })]).toEqual([1, 1, 0]);
  });
});

describe("wrong arguments", () => {
  it("are refused by name and value", () => {
    const args = { ...movement, advantages: both, epsLow: 0.1, epsHigh: 0.1 };
    expect(() => totalVariationMask({ ...args, epsLow: -1 })).toThrow(/epsLow and epsHigh ≥ 0, received -1 and 0.1/);
    expect(() => binaryKlMask({ ...args, advantages: new Float64Array(3) })).toThrow(
      /binaryKlMask: expected advantages \[N\] or \[N, 2\] of length 4, received 3/,
    );
    expect(() => movementMask({ ...args, anchorLogprobs: new Float64Array(3) })).toThrow(
      /movementMask: expected anchorLogprobs \[N\] of length 4, received 3/,
    );
    expect(() => covariances({ logprobs: new Float64Array(2), advantages: new Float64Array(4) })).toThrow(
      /covariances: expected advantages \[N\] of length 2, received 4/,
    );
    expect(() => largestCovarianceMask({ ...args, share: 2 })).toThrow(/share in 0 … 1, received 2/);
  });
});
