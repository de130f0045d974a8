import { describe, expect, it } from "vitest";
import { packSequences } from "../src/batch.ts";
import { fromBf16, fromF16 } from "../src/ops/halves.ts";
import { openOps } from "../src/ops/native.ts";
import type { Dtype, Floats } from "../src/ops/ops.ts";
import { AdamW } from "../src/optimizer.ts";
import type { Policy, ReferenceWeights } from "../src/policy.ts";
import { TablePolicy } from "../src/policies/table.ts";
import { TransformerPolicy } from "../src/policies/transformer.ts";
import { measureLogprobs, referenceOf, RunReference } from "../src/reference.ts";
import { supervisedStep } from "../src/supervised.ts";
import { bits } from "./support/close.ts";
import { smallConfig, valuesOf } from "./support/policies.ts";
import { random } from "./support/random.ts";

const ops = openOps("cpu");
const created = (dtype: Dtype) => TransformerPolicy.create(smallConfig, { random: random(1) }, { ops, dtype });
const table = () => new TablePolicy({ vocabulary: 11, contexts: 40 }, ops);
const batch = packSequences([
  [1, 2, 3, 4, 5],
  [6, 7, 8],
]);
const other = packSequences([[6, 7, 9, 2]]);
const tooDeep = packSequences([Array.from({ length: 30 }, () => 1)]);
const learn = (policy: Policy, steps = 3): void => {
  const optimizer = new AdamW({ lr: 0.01 });
  for (let step = 0; step < steps; step++) supervisedStep(policy, optimizer, batch);
};
const bitsOfAll = (logprobs: readonly Floats[]) => logprobs.map((each) => bits(each as Float32Array));
const measured = (policy: Policy) => bitsOfAll([measureLogprobs(policy, batch), measureLogprobs(policy, other)]);
const arrayOf = (weights: ReferenceWeights) => ("dtype" in weights ? weights.data : weights);

describe.each([
  ["in f32", () => created("f32"), 4, (x: number) => x],
  ["in bf16", () => created("bf16"), 2, fromBf16],
  ["in f16", () => created("f16"), 2, fromF16],
  ["of a table", table, 4, (x: number) => x],
] as const)("a reference %s", (_, make, width, widened) => {
  const count = valuesOf(make()).length;

  it("has no memory of its own until a step moves the policy, then that of one copy in its type", () => {
    const policy = make();
    const shared = policy.reference();
    expect(shared.bytes).toBe(0);
    if (width === 4) expect(arrayOf(shared.weights).buffer).toBe(policy.parameters()[0].data.buffer);
    const before = valuesOf(policy);
    learn(policy, 1);
    expect(shared.bytes).toBe(width * count);
    expect(arrayOf(shared.weights).byteLength).toBe(width * count);
    expect(arrayOf(shared.weights).buffer).not.toBe(policy.parameters()[0].data.buffer);
    expect(Float64Array.from(arrayOf(shared.weights), widened)).toEqual(before);
  });

  it("gives the log-probs of the policy as it was, to the bit, however far that has moved", () => {
    const policy = make();
    learn(policy);
    const before = measured(policy);
    const kept = policy.reference();
    expect(bitsOfAll(kept.logprobs([batch, other]))).toEqual(before);
    learn(policy);
    expect(measured(policy)).not.toEqual(before);
    expect(bitsOfAll(kept.logprobs([batch, other]))).toEqual(before);
    expect(bitsOfAll([...kept.logprobs([batch]), ...kept.logprobs([other])])).toEqual(before);
    expect(kept.logprobs([])).toEqual([]);
  });

  it("leaves no trace in the policy that it is measured by", () => {
    const [policy, alone] = [make(), make()];
    const kept = policy.reference();
    for (let round = 0; round < 3; round++) {
      learn(policy, 2);
      learn(alone, 2);
      kept.logprobs([batch, other]);
      expect(valuesOf(policy)).toEqual(valuesOf(alone));
      expect(measured(policy)).toEqual(measured(alone));
    }
  });

  it("is made again from its weights", () => {
    const policy = make();
    const kept = policy.reference();
    const before = measured(policy);
    learn(policy);
    const again = make();
    again.forward(batch); // a table gives its rows in the order of the first call
    learn(again, 5);
    const restored = again.reference(structuredClone(kept.weights));
    expect(restored.bytes).toBe(width * count);
    expect(bitsOfAll(restored.logprobs([batch, other]))).toEqual(before);
    expect(arrayOf(restored.weights)).toEqual(arrayOf(kept.weights));
  });

  it("is one of several, each as the policy was when it was made", () => {
    const policy = make();
    const first = policy.reference();
    const atFirst = measured(policy);
    learn(policy);
    const [second, third] = [policy.reference(), policy.reference()];
    const atSecond = measured(policy);
    third.separate();
    expect([second.bytes, third.bytes]).toEqual([0, width * count]);
    learn(policy);
    expect(bitsOfAll(first.logprobs([batch, other]))).toEqual(atFirst);
    for (const each of [second, third]) expect(bitsOfAll(each.logprobs([batch, other]))).toEqual(atSecond);
  });
});

describe("a reference", () => {
  it("in its own copy does not follow what a person writes, and keeps it for the policy", () => {
    for (const dtype of ["f32", "bf16"] as const) {
      const policy = created(dtype);
      const kept = policy.reference();
      const before = measured(policy);
      kept.separate();
      const { data } = policy.parameters()[0];
      data.fill(0.5, 0, 40);
      expect(bitsOfAll(kept.logprobs([batch, other]))).toEqual(before);
      expect([...data.subarray(0, 40)]).toEqual(Array.from({ length: 40 }, () => 0.5));
      policy.changed();
      expect([...data.subarray(0, 40)]).toEqual(Array.from({ length: 40 }, () => 0.5));
    }
  });

  it("gives the policy its weights back where a pass fails", () => {
    const policy = created("bf16");
    const kept = policy.reference();
    learn(policy);
    const before = valuesOf(policy);
    expect(() => kept.logprobs([batch, tooDeep])).toThrow("maxPositions");
    expect(valuesOf(policy)).toEqual(before);
  });

  it("takes the working memory of a forward pass, whose backward then throws instead of using another's", () => {
    const policy = created("f32");
    const kept = policy.reference();
    learn(policy);
    const pass = policy.forward(batch);
    kept.logprobs([batch]);
    expect(() => pass.backward(pass.logits)).toThrow("received one after another forward");
    const expected = policy.clone();
    const slopes = new Float32Array(batch.targets.length).fill(1);
    policy.logprobs(batch);
    kept.logprobs([other]);
    for (const each of [policy, expected]) each.backward(batch, slopes);
    expect(policy.parameters()[0].grad).toEqual(expected.parameters()[0].grad);
  });

  it("refuses weights of another length or type", () => {
    const count = valuesOf(created("f32")).length;
    expect(() => created("f32").reference(new Float32Array(3))).toThrow(
      `reference: expected weights of f32 [${count}], received those of f32 [3]`,
    );
    expect(() => created("bf16").reference(new Float32Array(count))).toThrow(
      `reference: expected weights of bf16 [${count}], received those of f32 [${count}]`,
    );
  });

  it("of a policy that makes none is a clone", () => {
    const policy = created("f32");
    const own: Policy = {
      ops: policy.ops,
      vocabulary: policy.vocabulary,
      forward: (given) => policy.forward(given),
      parameters: () => policy.parameters(),
      step: (optimizer) => policy.step(optimizer),
      sampler: (options) => policy.sampler(options),
      clone: () => policy.clone(),
    };
    const kept = referenceOf(own);
    const before = measured(policy);
    expect(kept.bytes).toBe(4 * valuesOf(policy).length);
    learn(policy);
    expect(bitsOfAll(kept.logprobs([batch, other]))).toEqual(before);
    expect(bitsOfAll(referenceOf(own, kept.weights).logprobs([batch, other]))).toEqual(before);
    expect(() => referenceOf(own, new Float32Array(3))).toThrow(/expected \d+ weights, received 3/);
  });

  it("of a run is the policy as it began, or as it was after the latest of every so many iterations", () => {
    for (const every of [0, 2]) {
      const policy = created("f32");
      const kept = new RunReference(policy, every);
      const seen = [measured(policy)];
      for (let iteration = 1; iteration <= 5; iteration++) {
        learn(policy, 1);
        seen.push(measured(policy));
        kept.after(iteration);
        const since = every === 0 ? 0 : iteration - (iteration % every);
        expect(kept.state.since).toBe(since);
        expect(bitsOfAll(kept.current.logprobs([batch, other]))).toEqual(seen[since]);
        const again = new RunReference(policy, every, structuredClone(kept.state));
        expect(again.state).toEqual(kept.state);
        expect(bitsOfAll(again.current.logprobs([batch, other]))).toEqual(seen[since]);
      }
    }
  });
});
