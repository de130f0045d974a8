import { describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { stretchesOf, stretchLength } from "../../src/policies/transformer-pass.ts";
import { onHost } from "../../src/ops/storage.ts";
import { randomArrays } from "../support/arrays.ts";
import { bits } from "../support/close.ts";
import { clearGradient, gradientOf, relativeError, smallConfig, smallTransformer } from "../support/policies.ts";

describe("stretches", () => {
  // Trees of 3, 1, 4 and 2 positions.
  const subtreeEnd = Int32Array.of(3, 2, 3, 4, 8, 6, 6, 8, 10, 10);
  const tokens = Int32Array.from(subtreeEnd, (_, t) => t);
  const cut = (length: number) =>
    stretchesOf({ tokens, depth: tokens, subtreeEnd }, length).map(({ begin, end }) => [begin, end]);

  it("end with the tree in which enough positions have come together", () => {
    expect(cut(1)).toEqual([
      [0, 3],
      [3, 4],
      [4, 8],
      [8, 10],
    ]);
    expect(cut(4)).toEqual([
      [0, 4],
      [4, 8],
      [8, 10],
    ]);
    expect(cut(5)).toEqual([
      [0, 8],
      [8, 10],
    ]);
    expect(cut(100)).toEqual([[0, 10]]);
  });

  it("number the ends of subtrees from their own beginning", () => {
    const stretch = stretchesOf({ tokens, depth: tokens, subtreeEnd }, 4)[1];
    expect([...stretch.subtreeEnd]).toEqual([4, 2, 2, 4]);
    expect([...stretch.tokens]).toEqual([4, 5, 6, 7]);
  });

  it("of an empty batch are none", () => {
    const none = new Int32Array(0);
    expect(stretchesOf({ tokens: none, depth: none, subtreeEnd: none }, 8)).toEqual([]);
  });
});

describe("a batch of several stretches", () => {
  const policy = smallTransformer(openOps("cpu", { blas: false }), { intermediate: 2048 });
  const draw = randomArrays(9);
  const sequences = Array.from({ length: 130 }, () => [...draw.integers(10, 11)]);
  const whole = packSequences(sequences);
  const V = policy.vocabulary;
  const dlogits = draw.normals(whole.tokens.length * V);

  it("is one", () => {
    expect(whole.tokens.length).toBeGreaterThan(2 * stretchLength(policy.config));
  });

  it("has the logits of each of its trees alone, and the sum of their gradients", () => {
    const pass = policy.forward(whole);
    const logits = onHost(pass.logits).slice();
    pass.backward(dlogits);
    const together = gradientOf(policy);
    clearGradient(policy);
    let begin = 0;
    for (const sequence of sequences) {
      const alone = policy.forward(packSequences([sequence]));
      const end = begin + alone.logits.length;
      expect(bits(onHost(alone.logits))).toEqual(bits(logits.subarray(begin, end)));
      alone.backward(dlogits.subarray(begin, end));
      begin = end;
    }
    expect(relativeError(gradientOf(policy), together)).toBeLessThan(1e-5);
  });
});

describe("activations that are computed again", () => {
  it.each([{}, { qkNorm: true, qkvBias: true }])("give the same logits and gradients to the bit with %j", (parts) => {
    const ops = openOps("cpu", { blas: false });
    const kept = smallTransformer(ops, { intermediate: 2048, ...parts });
    const again = new TransformerPolicy(kept.config, { ops, recompute: true });
    again.parameters().forEach(({ data }, p) => data.set(kept.parameters()[p].data));
    const draw = randomArrays(9);
    const batch = packSequences(Array.from({ length: 130 }, () => [...draw.integers(10, 11)]));
    const dlogits = draw.normals(batch.tokens.length * kept.vocabulary);
    const [one, other] = [kept, again].map((policy) => {
      const pass = policy.forward(batch);
      const logits = bits(onHost(pass.logits));
      pass.backward(dlogits.slice());
      return { logits, gradient: gradientOf(policy) };
    });
    expect(other.logits).toEqual(one.logits);
    expect(other.gradient).toEqual(one.gradient);
    expect(again.clone().recompute).toBe(true);
  });

  it("need memory for one layer's activations and every layer's input", () => {
    const config = { ...smallConfig, layers: 8, intermediate: 2048 };
    const draw = randomArrays(9);
    const batch = packSequences(Array.from({ length: 130 }, () => [...draw.integers(10, 11)]));
    const [kept, again] = [false, true].map((recompute) => {
      const ops = openOps("cpu");
      let numbers = 0;
      const allocate = (length: number): Float32Array => {
        numbers += length;
        return new Float32Array(length);
      };
      const policy = new TransformerPolicy(config, { ops: { ...ops, allocate }, recompute });
      const before = numbers;
      const pass = policy.forward(batch);
      pass.backward(pass.logits);
      return numbers - before;
    });
    expect(again).toBeLessThan(kept / 5);
  });
});
