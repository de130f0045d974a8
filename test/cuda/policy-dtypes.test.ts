/** A transformer whose weights lie on a device in a half type, against the same on the processor. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { newestCheckpoint, policyDirectory, writeCheckpoint } from "../../src/checkpoint/run-checkpoint.ts";
import type { DeviceOps, Numbers } from "../../src/ops/device-ops.ts";
import { floatsOf } from "../../src/ops/halves.ts";
import { openOps } from "../../src/ops/native.ts";
import type { Floats } from "../../src/ops/ops.ts";
import { onHost } from "../../src/ops/storage.ts";
import { AdamW, type Optimizer } from "../../src/optimizer.ts";
import type { Reference } from "../../src/policy.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { typed, widened, type Half } from "../support/arrays.ts";
import { countingMemory, runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { gradientOf, relativeError, smallTransformer, valuesOf } from "../support/policies.ts";

const batch = packSequences([
  [1, 2, 3, 4, 5],
  [6, 7],
  [8, 9, 10, 1, 2, 3],
]);
const dlogprobs = Float32Array.from(batch.targets, (_, n) => Math.sin(n + 1));
const learn = (policy: TransformerPolicy, optimizer: Optimizer): void => {
  policy.backward(batch, dlogprobs);
  policy.step(optimizer);
};

/** As in policy.test.ts. */
const sameSums = 1e-5;
const sameSteps = 1e-3;

const parts = { qkNorm: true, qkvBias: true, positionTable: true };

describe.skipIf(!runsOnHost).each(["bf16", "f16"] as const)("weights in %s on a device", (dtype: Half) => {
  let ops: DeviceOps;
  let folder: string;
  const cpu = openOps("cpu", { blas: false });
  onHostDevice(() => {
    ops = openOps("cuda");
    folder = mkdtempSync(join(tmpdir(), "stepcredit-"));
  });
  afterAll(() => runsOnHost && rmSync(folder, { recursive: true }));

  const created = (config = {}) => smallTransformer(ops, config, 1, dtype);
  const both = (config = {}) => [created(config), smallTransformer(cpu, config, 1, dtype)];
  const rounded = (numbers: ArrayLike<number>) => Float64Array.from(widened(typed(dtype, Float32Array.from(numbers))));

  /** AdamW, and the masters that each of its steps has left. */
  const watched = (lr: number) => {
    const inner = new AdamW({ lr });
    const masters: Floats[] = [];
    const step = (of: DeviceOps, params: Numbers, grads: Numbers): number => {
      const norm = inner.step(of, params, grads);
      masters.push(onHost(params).slice());
      return norm;
    };
    return { optimizer: { step }, masters };
  };

  it.each([{}, parts, { tieEmbeddings: true, windows: [2, null] }])(
    "give the log-probs and gradients of those on the processor with %j",
    (config) => {
      const [there, here] = both(config);
      expect(valuesOf(there)).toEqual(valuesOf(here));
      expect(relativeError(there.logprobs(batch), here.logprobs(batch))).toBeLessThan(sameSums);
      for (const policy of [there, here]) policy.backward(batch, dlogprobs);
      expect(relativeError(gradientOf(there), gradientOf(here))).toBeLessThan(sameSums);
    },
  );

  it("give every bit of weights in f32 that hold the same numbers, by portable products", () => {
    const portable = openOps("cuda", { blas: false });
    const [half, exact] = [smallTransformer(portable, parts, 1, dtype), smallTransformer(portable, parts)];
    expect(valuesOf(half)).not.toEqual(valuesOf(exact));
    const given = half.parameters();
    exact.parameters().forEach(({ data }, i) => data.set(given[i].data));
    exact.changed();
    expect(half.logprobs(batch)).toEqual(exact.logprobs(batch));
    for (const policy of [half, exact]) policy.backward(batch, dlogprobs);
    expect(gradientOf(half)).toEqual(gradientOf(exact));
  });

  it("are the masters rounded, which move as on the processor", () => {
    const [there, here] = both(parts);
    const [ours, theirs] = [watched(1e-3), watched(1e-3)];
    const before = valuesOf(smallTransformer(cpu, parts));
    for (let step = 0; step < 3; step++) {
      learn(there, ours.optimizer);
      learn(here, theirs.optimizer);
      expect(valuesOf(there)).toEqual(rounded(ours.masters[step]));
      expect(valuesOf(there)).not.toEqual(Float64Array.from(ours.masters[step]));
      const [moved, known] = [ours, theirs].map(({ masters }) => masters[step].map((x, i) => x - before[i]));
      expect(relativeError(moved, known)).toBeLessThan(sameSteps);
    }
    expect(Math.max(...gradientOf(there).map(Math.abs))).toBe(0);
  });

  it("write the tokens of those on the processor", async () => {
    const policies = both(parts);
    for (const options of [{ temperature: 0 }, { temperature: 1, seed: 3 }]) {
      const [written, expected] = await Promise.all(
        policies.map((policy) => policy.generate([[1, 2, 3], [1, 2, 4, 5], [7]], { maxTokens: 9, ...options })),
      );
      expect(written.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
    }
  });

  it("that a person writes become the masters, and others keep theirs", () => {
    const policy = created();
    const masters = (): Floats => {
      let seen: Floats = new Float32Array(0);
      policy.step({ step: (_, params) => ((seen = onHost(params)), 0) });
      return seen;
    };
    learn(policy, new AdamW({ lr: 1e-4 }));
    const before = masters();
    const [{ data }] = policy.parameters();
    data[3] = 0.1;
    policy.changed();
    expect(data[3]).toBe(rounded([0.1])[0]);
    expect(policy.parameters()[0].data[3]).toBe(data[3]);
    const expected = before.slice();
    expected[3] = 0.1;
    expect(masters()).toEqual(expected);
    expect(valuesOf(policy)).toEqual(rounded(expected));
  });

  it("go on from a checkpoint, with their masters, moments and reference, to the same bits", async () => {
    const [policy, optimizer] = [created({ qkvBias: true, tieEmbeddings: true }), new AdamW({ lr: 1e-2 })];
    learn(policy, optimizer);
    const reference = policy.reference();
    learn(policy, optimizer);
    const train = { iteration: 2, tokens: 0, drawn: 0, problems: 1, shuffle: 1, answered: 0 };
    const gate = { iterations: 0, repair: 0, fresh: 0 };
    const state = { ...train, gate, optimizer: optimizer.state, reference: { since: 1, weights: reference.weights } };
    await writeCheckpoint(folder, { train: state, metricsLines: 0, extra: {}, score: 0 }, 1, (to) => policy.save(to));

    const found = await newestCheckpoint(folder, (_, reason) => expect.fail(reason));
    const again = await TransformerPolicy.load(policyDirectory(found!.directory), { ops, dtype });
    const { optimizer: stored, reference: kept } = found!.state.train;
    const going = new AdamW({ lr: 1e-2 });
    going.restore(stored);
    expect(kept!.weights).toMatchObject({ dtype });
    const references: readonly Reference[] = [reference, again.reference(kept!.weights)];
    const runs = [policy, policy.clone(), again];
    const next = new AdamW({ lr: 1e-2 });
    next.restore({ ...optimizer.state });
    [optimizer, next, going].forEach((each, i) => learn(runs[i], each));
    for (const other of runs.slice(1)) {
      expect(valuesOf(other)).toEqual(valuesOf(policy));
      expect(other.logprobs(batch)).toEqual(policy.logprobs(batch));
    }
    expect(references[1].logprobs([batch])).toEqual(references[0].logprobs([batch]));
  });

  it("have a reference that keeps their bits alone, and come back from it", () => {
    const [there, here] = both(parts);
    const before = there.logprobs(batch).slice();
    const start = valuesOf(there);
    const references = [there, here].map((policy) => policy.reference());
    expect(references.map(({ bytes }) => bytes)).toEqual([0, 0]);
    for (const policy of [there, here]) learn(policy, new AdamW({ lr: 1e-2 }));
    const after = there.logprobs(batch).slice();
    expect(after).not.toEqual(before);
    const [[measured], [known]] = references.map((reference) => reference.logprobs([batch]));
    expect(measured).toEqual(before);
    expect(relativeError(measured, known)).toBeLessThan(sameSums);
    expect(there.logprobs(batch)).toEqual(after);
    for (const { bytes, weights } of references) {
      expect(bytes).toBe(2 * start.length);
      expect(Float64Array.from(floatsOf(weights))).toEqual(start);
    }
    // What somebody has written is not lost in between.
    const [{ data }] = there.parameters();
    data[0] = 3;
    there.changed();
    const written = valuesOf(there);
    expect(references[0].logprobs([batch])[0]).toEqual(before);
    expect(valuesOf(there)).toEqual(written);
  });

  it("take 2 bytes each beside masters and gradients, and 4 more where they are norms or biases", () => {
    const { ops: counting, liveBytes } = countingMemory(ops);
    const exact = smallTransformer(counting, parts);
    const all = exact.parameters();
    const count = (of: typeof all): number => of.reduce((sum, { data }) => sum + data.length, 0);
    const vectors = all.filter(({ shape }) => shape.length === 1);
    const others = liveBytes() - 8 * count(all);
    const half = smallTransformer(counting, parts, 1, dtype);
    exact.dispose();
    expect(liveBytes() - others).toBe(10 * count(all) + 4 * count(vectors));
    half.dispose();
    expect(liveBytes()).toBe(0);
  });
});
