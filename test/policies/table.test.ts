import { describe, expect, it } from "vitest";
import { pack, packSequences } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import { reference } from "../../src/ops/reference.ts";
import { AdamW } from "../../src/optimizer.ts";
import { TablePolicy } from "../../src/policies/table.ts";
import { supervisedStep } from "../../src/supervised.ts";
import { measureLogprobs } from "../../src/reference.ts";
import { dot, expectGradient } from "../support/differences.ts";
import { draw } from "../support/draw.ts";
import { gradientOf, targetNames, valuesOf } from "../support/policies.ts";
import { random } from "../support/random.ts";

const tree = draw("1 2\n  3 1\n    2 → 1\n    0 → 0\n  0 → 1");
const native = openOps("cpu");
/** Log-probs of each last token after the tokens before it. */
const after = (policy: TablePolicy, ...sequences: readonly (readonly number[])[]): number[] => [
  ...measureLogprobs(policy, packSequences(sequences, { from: sequences.map(({ length }) => length - 1) })),
];
const learn = (policy: TablePolicy, sequence: readonly number[]) =>
  supervisedStep(policy, new AdamW({ lr: 0.5 }), packSequences([sequence], { from: [sequence.length - 1] }));

describe("a table policy", () => {
  it("begins uniform", () => {
    const logprobs = measureLogprobs(new TablePolicy({ vocabulary: 5, contexts: 20 }, reference()), pack([tree]));
    expect(logprobs).toHaveLength(5);
    for (const logprob of logprobs) expect(logprob).toBeCloseTo(-Math.log(5), 14);
  });

  it("has the slope of its log-probs as gradient", () => {
    const policy = new TablePolicy({ vocabulary: 4, contexts: 8, order: 1 }, reference());
    const draws = random(2);
    const [{ data, grad }] = policy.parameters();
    data.set(Float64Array.from(data, () => 2 * draws() - 1));
    const batch = pack([tree]);
    const { targetOffsets, targets } = batch;
    const dlogprobs = Float64Array.from(targets, () => draws() - 0.5);
    const pass = policy.forward(batch);
    const { lse } = policy.ops.logprobs({ logits: pass.logits, targetOffsets, targets });
    pass.backward(policy.ops.logprobsBackward({ logits: pass.logits, targetOffsets, targets, lse, dlogprobs }));
    expectGradient(grad.slice(), () => dot(measureLogprobs(policy, batch), dlogprobs), data as Float64Array, "table");
  });

  it("tells whole prefixes apart by default, and only their last tokens with an order", () => {
    const whole = new TablePolicy({ vocabulary: 4, contexts: 20 }, native);
    const last = new TablePolicy({ vocabulary: 4, contexts: 20, order: 1 }, native);
    const lastTwo = new TablePolicy({ vocabulary: 4, contexts: 20, order: 2 }, native);
    for (const policy of [whole, last, lastTwo]) learn(policy, [1, 2, 3]);
    const learned = (policy: TablePolicy) =>
      after(policy, [1, 2, 3], [0, 1, 2, 3], [0, 2, 3], [2, 3]).map((logprob) => logprob > -Math.log(4) + 0.1);
    expect(learned(whole)).toEqual([true, false, false, false]);
    expect(learned(lastTwo)).toEqual([true, true, false, false]);
    expect(learned(last)).toEqual([true, true, true, true]);
  });

  it("reads the context of a branch from its own path", () => {
    const policy = new TablePolicy({ vocabulary: 4, contexts: 20 }, native);
    learn(policy, [1, 2, 3, 1, 0]);
    const batch = pack([tree]);
    const logprobs = measureLogprobs(policy, batch);
    const raised = targetNames(batch).filter((_, n) => logprobs[n] > -Math.log(4) + 0.1);
    expect(raised).toEqual(["1 2 3 1 → 0"]);
  });

  it("samples from the rows that it trains", async () => {
    const policy = new TablePolicy({ vocabulary: 4, contexts: 50 }, native);
    for (let step = 0; step < 8; step++) learn(policy, [1, 2, 3]);
    learn(policy, [1, 2, 3, 0]);
    const requests = Array.from({ length: 5 }, () => ({ prefix: [1, 2], maxTokens: 2 }));
    const greedy = await policy.sampler({ seed: 1, temperature: 0 }).sample(requests);
    for (const { tokens, logprobs } of greedy) {
      expect(tokens).toEqual([3, 0]);
      expect([...logprobs]).toEqual(after(policy, [1, 2, 3], [1, 2, 3, 0]));
    }
    const sampler = () => policy.sampler({ seed: 2 });
    expect(await sampler().sample(requests)).toEqual(await sampler().sample(requests));
    await expect(sampler().sample([{ prefix: [4], maxTokens: 1 }])).rejects.toThrow(/in 0 … 3, received 4/);
  });

  it("holds as many contexts as it was made for, and says so", async () => {
    const policy = new TablePolicy({ vocabulary: 4, contexts: 3, order: 1 }, native);
    const full = /at most 3 contexts, received one more/;
    expect(after(policy, [1, 2, 3])).toHaveLength(1);
    expect(() => policy.forward(packSequences([[0, 1]]))).toThrow(full);
    await expect(policy.sampler({ seed: 1 }).sample([{ prefix: [0], maxTokens: 1 }])).rejects.toThrow(full);
    expect(after(policy, [2, 1])).toHaveLength(1);
  });

  it("shares nothing with its clone, neither values nor contexts nor gradients", () => {
    const policy = new TablePolicy({ vocabulary: 4, contexts: 12 }, native);
    learn(policy, [1, 2]);
    const copy = policy.clone();
    expect(after(copy, [1, 2])).toEqual(after(policy, [1, 2]));
    const before = valuesOf(policy);
    learn(copy, [1, 3]);
    // The next free row of each goes to another context.
    learn(copy, [2, 0]);
    learn(policy, [3, 0]);
    expect(after(policy, [1, 3])[0]).toBeLessThan(after(copy, [1, 3])[0]);
    expect(after(policy, [2, 0])[0]).toBeCloseTo(-Math.log(4), 6);
    expect(after(copy, [3, 0])[0]).toBeCloseTo(-Math.log(4), 6);
    expect(valuesOf(policy).slice(0, 4)).toEqual(before.slice(0, 4));
    expect(gradientOf(policy).every((x) => x === 0)).toBe(true);
  });

  it("leaves its clone room for contexts of its own", () => {
    const policy = new TablePolicy({ vocabulary: 4, contexts: 4 }, native);
    learn(policy, [1, 2]);
    const copy = policy.clone();
    learn(copy, [2, 0]);
    learn(policy, [3, 0]);
    expect(() => learn(copy, [0, 0])).toThrow(/at most 4 contexts/);
    expect(() => learn(policy, [0, 0])).toThrow(/at most 4 contexts/);
  });

  it("drops a gradient that the optimizer refused", () => {
    const policy = new TablePolicy({ vocabulary: 4, contexts: 6 }, native);
    learn(policy, [1, 2]);
    const before = valuesOf(policy);
    policy.parameters()[0].grad[3] = NaN;
    expect(() => policy.step(new AdamW({ lr: 0.5 }))).toThrow(/finite gradient/);
    expect(valuesOf(policy)).toEqual(before);
    expect(policy.step(new AdamW({ lr: 0.5 }))).toBe(0);
  });
});
