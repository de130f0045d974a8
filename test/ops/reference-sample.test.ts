import { describe, expect, it } from "vitest";
import { philox, reference } from "../../src/ops/reference.ts";
import { sampleArguments } from "../support/cases/sample.ts";

const ops = reference();

describe("philox", () => {
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [-1, -1, -1, -1],
      [-1, -1],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])("gives the published words of counter %j under key %j", (counter, key, words) => {
    expect(philox(counter, key)).toEqual(words);
  });
});

describe("sample", () => {
  it("draws tokens as often as they are probable", () => {
    const R = 20000;
    const logits = Float64Array.from({ length: 3 * R }, (_, i) => Math.log([0.5, 0.2, 0.3][i % 3]));
    const positions = Int32Array.from({ length: R }, (_, r) => r);
    const { tokens, logprobs } = ops.sample({ logits, seed: 7, streams: new Int32Array(R).fill(3), positions });
    const share = [0, 1, 2].map((token) => tokens.filter((drawn) => drawn === token).length / R);
    [0.5, 0.2, 0.3].forEach((p, token) =>
      expect(Math.abs(share[token] - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / R)),
    );
    tokens.forEach((token, r) => expect(logprobs[r]).toBeCloseTo(Math.log([0.5, 0.2, 0.3][token]), 13));
  });

  const support = (options: object) => {
    // probabilities 0.4, 0.1, 0.3, 0.15, 0.05
    const R = 400;
    const logits = Float64Array.from({ length: 5 * R }, (_, i) => Math.log([0.4, 0.1, 0.3, 0.15, 0.05][i % 5]));
    const streams = Int32Array.from({ length: R }, (_, r) => r);
    const drawn = ops.sample({
      logits,
      seed: 1,
      streams,
      positions: new Int32Array(R),
      supportLogprobs: true,
      ...options,
    });
    return { ids: [...new Set(drawn.tokens)].sort(), drawn };
  };

  it("cuts the support by topK, topP and minP, in that order", () => {
    expect(support({}).ids).toEqual([0, 1, 2, 3, 4]);
    expect(support({ topK: 2 }).ids).toEqual([0, 2]);
    expect(support({ topP: 0.65 }).ids).toEqual([0, 2]);
    expect(support({ topP: 0.72 }).ids).toEqual([0, 2, 3]);
    expect(support({ minP: 0.3 }).ids).toEqual([0, 2, 3]);
    expect(support({ topK: 4, topP: 0.9, minP: 0.3 }).ids).toEqual([0, 2, 3]);
  });

  it("gives the log-prob under the full distribution and under the support", () => {
    const { drawn } = support({ topK: 2 });
    drawn.tokens.forEach((token, r) => {
      const p = token === 0 ? 0.4 : 0.3;
      expect(drawn.logprobs[r]).toBeCloseTo(Math.log(p), 13);
      expect(drawn.supportLogprobs![r]).toBeCloseTo(Math.log(p / 0.7), 13);
    });
  });

  it("takes the lowest of the most probable ids at temperature 0, with its log-prob at temperature 1", () => {
    const args = { logits: Float64Array.of(0, Math.log(3), Math.log(3), 0), seed: 1, temperature: 0 };
    const { tokens, logprobs, supportLogprobs } = ops.sample({
      ...args,
      streams: new Int32Array(1),
      positions: new Int32Array(1),
      supportLogprobs: true,
    });
    expect(tokens[0]).toBe(1);
    expect(logprobs[0]).toBeCloseTo(Math.log(3 / 8), 14);
    expect(supportLogprobs![0]).toBe(0);
  });

  it("marks rows it cannot draw from", () => {
    const logits = Float64Array.of(-Infinity, -Infinity, 0, NaN);
    const { tokens, logprobs } = ops.sample({
      logits,
      seed: 1,
      streams: Int32Array.of(0, 1),
      positions: Int32Array.of(0, 0),
    });
    expect([...tokens]).toEqual([-1, -1]);
    expect([...logprobs]).toEqual([NaN, NaN]);
  });

  it("draws the same token for the same seed, stream and position, and others for others", () => {
    const args = sampleArguments(48, 100);
    const { tokens } = ops.sample(args);
    expect(ops.sample(args).tokens).toEqual(tokens);
    expect(ops.sample({ ...args, seed: args.seed + 1 }).tokens).not.toEqual(tokens);
    expect(ops.sample({ ...args, seed: args.seed + 2 ** 32 }).tokens).not.toEqual(tokens);
    expect(ops.sample({ ...args, positions: args.positions.map((p) => p + 1) }).tokens).not.toEqual(tokens);
    expect(ops.sample({ ...args, streams: args.streams.map((s) => s + 1) }).tokens).not.toEqual(tokens);
  });
});
