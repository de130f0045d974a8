import { describe, expect, it } from "vitest";
import {
  constantDenominator,
  lengthUnbiasedMean,
  microbatchTokenMean,
  promptMean,
  sequenceMeanTokenMean,
  sequenceMeanTokenSum,
  sequenceMeanTokenSumNorm,
  tokenMean,
  tokenSum,
  type Normaliser,
} from "../src/normaliser.ts";
import { reference } from "../src/ops/reference.ts";
import { random } from "./support/random.ts";

// Three sequences of 2, 0 and 3 targets.
const offsets = Int32Array.of(0, 2, 2, 5);

function expectDenominators(normaliser: Normaliser, denominators: readonly number[]): void {
  const [first, second, third] = denominators;
  expect([...normaliser.denominators]).toEqual([first, second, third]);
  expect([...normaliser.weights]).toEqual([1 / first, 1 / first, 1 / third, 1 / third, 1 / third]);
}

describe("a token mean", () => {
  it("divides by the number of targets", () => {
    expectDenominators(tokenMean(offsets), [5, 5, 5]);
  });

  it("divides by the global number of tokens, times the processes whose gradients are averaged", () => {
    expectDenominators(tokenMean(offsets, { globalTokens: 40, processes: 4, lossDivisor: 2 }), [20, 20, 20]);
  });

  it("has no weights, and no division by zero, where no target is present", () => {
    const { weights, denominators } = tokenMean(Int32Array.of(0, 0, 0));
    expect(weights).toHaveLength(0);
    expect([...denominators]).toEqual([1, 1]);
    expect([...tokenMean(Int32Array.of(0, 1), { globalTokens: 0 }).weights]).toEqual([1]);
  });
});

describe("a token sum", () => {
  it("has no denominator but the loss divisor", () => {
    expectDenominators(tokenSum(offsets, { processes: 2, lossDivisor: 8 }), [4, 4, 4]);
  });
});

describe("a constant denominator", () => {
  it("counts every sequence, empty ones included", () => {
    expectDenominators(constantDenominator(offsets, { constant: 10 }), [30, 30, 30]);
  });
});

describe("a mean over sequences", () => {
  it("counts an empty sequence or leaves it out", () => {
    expectDenominators(sequenceMeanTokenMean(offsets), [6, 3, 9]);
    expectDenominators(sequenceMeanTokenMean(offsets, { emptySequences: "excluded" }), [4, 2, 6]);
    expectDenominators(sequenceMeanTokenSum(offsets), [3, 3, 3]);
    expectDenominators(sequenceMeanTokenSum(offsets, { emptySequences: "excluded" }), [2, 2, 2]);
    expectDenominators(sequenceMeanTokenSumNorm(offsets, { emptySequences: "excluded", constant: 7 }), [14, 14, 14]);
  });

  it("takes the number of sequences of the whole batch", () => {
    expectDenominators(
      sequenceMeanTokenMean(offsets, { globalSequences: 16, processes: 2, lossDivisor: 3 }),
      [48, 24, 72],
    );
  });
});

describe("a mean over blocks of sequences", () => {
  it("averages the token means of prompts", () => {
    // Prompt 0 owns sequences 0 and 1 (2 tokens), prompt 1 sequence 2 (3 tokens).
    expectDenominators(promptMean(offsets, { promptOffsets: Int32Array.of(0, 2, 3) }), [4, 4, 6]);
  });

  it("averages the token means of micro-batches, the last of which may be shorter", () => {
    expectDenominators(microbatchTokenMean(offsets, { sequencesPerMicrobatch: 2 }), [4, 4, 6]);
    expectDenominators(microbatchTokenMean(offsets, { sequencesPerMicrobatch: 5 }), [5, 5, 5]);
  });

  it("refuses prompts that do not cover the sequences", () => {
    expect(() => promptMean(offsets, { promptOffsets: Int32Array.of(0, 2) })).toThrow(
      /promptMean: expected the blocks to end at sequence 3, received 2/,
    );
  });
});

describe("the length-unbiased mean", () => {
  it("sums every sequence's loss over its targets and averages over sequences", () => {
    expectDenominators(lengthUnbiasedMean(offsets), [3, 3, 3]);
  });

  it("weighs a target by its sequence's length over a padded width", () => {
    // B · width = 12 elements of n_b · l.
    expectDenominators(lengthUnbiasedMean(offsets, { width: 4 }), [6, 12, 4]);
  });
});

describe("wrong arguments", () => {
  it("are refused by name and value", () => {
    expect(() => tokenMean([0, 2] as unknown as Int32Array)).toThrow(TypeError);
    expect(() => tokenMean(Int32Array.of(1, 2))).toThrow(/to start with 0/);
    expect(() => tokenMean(Int32Array.of(0, 2, 1))).toThrow(/never to fall/);
    expect(() => tokenMean(offsets, { globalTokens: NaN })).toThrow(/globalTokens to be a finite number ≥ 0/);
    expect(() => constantDenominator(offsets, { constant: 0 })).toThrow(/constant to be a finite number > 0/);
    expect(() => microbatchTokenMean(offsets, { sequencesPerMicrobatch: 0 })).toThrow(/integer ≥ 1/);
  });
});

describe("micro-batches", () => {
  const lengths = [3, 1, 0, 7, 2, 5, 4, 1];
  const splits = [[8], [4, 4], [1, 2, 5], [1, 1, 1, 1, 1, 1, 1, 1]];
  const ends = Int32Array.from({ length: lengths.length + 1 }, (_, b) =>
    lengths.slice(0, b).reduce((a, n) => a + n, 0),
  );
  const tokens = ends[lengths.length];
  const next = random(11);
  const array = () => Float64Array.from({ length: tokens }, () => next() - 0.5);
  const inputs = { logprobs: array(), oldLogprobs: array(), refLogprobs: array(), advantages: array() };

  /** The gradient of all targets, computed split by split. */
  function gradients(sizes: readonly number[], normalise: (sequenceOffsets: Int32Array) => Normaliser): number[] {
    let first = 0;
    return sizes.flatMap((size) => {
      const sequenceOffsets = ends.slice(first, first + size + 1).map((end) => end - ends[first]);
      const [start, end] = [ends[first], ends[first + size]];
      first += size;
      const { dlogprobs } = reference().policyLoss.clip({
        logprobs: inputs.logprobs.subarray(start, end),
        oldLogprobs: inputs.oldLogprobs.subarray(start, end),
        refLogprobs: inputs.refLogprobs.subarray(start, end),
        advantages: inputs.advantages.subarray(start, end),
        weights: normalise(sequenceOffsets).weights,
        epsLow: 0.2,
        epsHigh: 0.28,
        kl: { estimator: "k3", coefficient: 0.04 },
      });
      return [...dlogprobs];
    });
  }

  const laws: Record<string, (sequenceOffsets: Int32Array) => Normaliser> = {
    "the global token count": (sequenceOffsets) => tokenMean(sequenceOffsets, { globalTokens: tokens }),
    "the global sequence count": (sequenceOffsets) =>
      sequenceMeanTokenMean(sequenceOffsets, { globalSequences: lengths.length }),
    "no denominator": (sequenceOffsets) => tokenSum(sequenceOffsets),
  };
  for (const [name, normalise] of Object.entries(laws)) {
    it(`add up to the gradient of the whole batch with ${name}`, () => {
      const whole = gradients(splits[0], normalise);
      expect(whole.some((gradient) => gradient !== 0)).toBe(true);
      for (const sizes of splits.slice(1)) {
        gradients(sizes, normalise).forEach((gradient, n) => expect(Math.abs(gradient - whole[n])).toBeLessThan(1e-12));
      }
    });
  }

  it("do not add up with a mean over their own tokens, which is why the global count exists", () => {
    const whole = gradients(splits[0], (sequenceOffsets) => tokenMean(sequenceOffsets));
    const split = gradients(splits[2], (sequenceOffsets) => tokenMean(sequenceOffsets));
    expect(Math.max(...whole.map((gradient, n) => Math.abs(split[n] - gradient)))).toBeGreaterThan(1e-3);
  });
});
