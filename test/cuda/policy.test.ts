/** A transformer whose weights, activations and gradients stay on a device, against the same on the processor. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { DeviceParameters } from "../../src/device-parameters.ts";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import { DeviceTensor } from "../../src/ops/device-tensor.ts";
import { openOps } from "../../src/ops/native.ts";
import { onHost } from "../../src/ops/storage.ts";
import { AdamW } from "../../src/optimizer.ts";
import { PrefixCache } from "../../src/policies/prefix-cache.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { countingMemory, runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { gradientOf, relativeError, smallTransformer, valuesOf } from "../support/policies.ts";

const batch = packSequences([
  [1, 2, 3, 4, 5],
  [6, 7],
  [8, 9, 10, 1, 2, 3],
]);
const dlogprobs = Float32Array.from(batch.targets, (_, n) => Math.sin(n + 1));

/** Of the norm: the same sums of f32 in another order, through two layers; as for a tree and its unrolled rollouts. */
const sameSums = 1e-5;
/** Of the norm: AdamW divides a gradient by its own size, so that the rounding of one near 0 is not small beside its step. */
const sameSteps = 1e-3;

describe.skipIf(!runsOnHost)("a transformer on a device", () => {
  let ops: DeviceOps;
  let folder: string;
  const cpu = openOps("cpu", { blas: false });
  onHostDevice(() => {
    ops = openOps("cuda");
    folder = mkdtempSync(join(tmpdir(), "stepcredit-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const both = (config = {}): TransformerPolicy[] => [ops, cpu].map((of) => smallTransformer(of, config));

  it.each([{}, { qkNorm: true, qkvBias: true, tieEmbeddings: true }, { windows: [2, null], positionTable: true }])(
    "has the logits and gradients of one on the processor with %j",
    (config) => {
      const [there, here] = both(config);
      expect(there.forward(batch).logits).toBeInstanceOf(DeviceTensor);
      const [logits, expected] = [there, here].map((policy) => onHost(policy.forward(batch).logits).slice());
      expect(relativeError(logits, expected)).toBeLessThan(sameSums);
      const [logprobs, known] = [there, here].map((policy) => policy.logprobs(batch));
      expect(relativeError(logprobs, known)).toBeLessThan(sameSums);
      for (const policy of [there, here]) policy.backward(batch, dlogprobs);
      expect(relativeError(gradientOf(there), gradientOf(here))).toBeLessThan(sameSums);
    },
  );

  it("moves like one on the processor, and its optimizer goes on from a stored state", () => {
    const [there, here] = both();
    const before = valuesOf(here);
    let optimizers = [there, here].map(() => new AdamW({ lr: 1e-2 }));
    for (let step = 0; step < 4; step++) {
      [there, here].forEach((policy, i) => {
        policy.logprobs(batch);
        policy.backward(batch, dlogprobs);
        policy.step(optimizers[i]);
      });
      if (step !== 1) continue;
      optimizers = optimizers.map(({ state }) => {
        const next = new AdamW({ lr: 1e-2 });
        next.restore(state);
        return next;
      });
    }
    expect(Math.max(...gradientOf(there).map(Math.abs))).toBe(0);
    const moved = (policy: TransformerPolicy): Float64Array => valuesOf(policy).map((value, i) => value - before[i]);
    expect(relativeError(moved(there), moved(here))).toBeLessThan(sameSteps);
  });

  it("takes over what is written to its parameters", () => {
    const [there, here] = both();
    for (const policy of [there, here]) {
      const [{ data }] = policy.parameters();
      for (let i = 0; i < data.length; i++) data[i] = Math.cos(i);
      policy.changed();
    }
    expect(relativeError(there.logprobs(batch), here.logprobs(batch))).toBeLessThan(sameSums);
  });

  it("writes the tokens of one on the processor, and reads a token once", async () => {
    const [there, here] = both();
    const prompts = [[1, 2, 3], [1, 2, 4, 5], [7]];
    for (const options of [{ temperature: 0 }, { temperature: 1, seed: 3 }]) {
      const [written, expected] = await Promise.all(
        [there, here].map((policy) => policy.generate(prompts, { maxTokens: 9, ...options })),
      );
      expect(written.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
    }
    expect(there.computedTokens).toBe(here.computedTokens);
  });

  it("is saved, loaded and cloned without a changed bit", async () => {
    const [there] = both();
    await there.save(folder);
    const loaded = await TransformerPolicy.load(folder, { ops });
    expect(valuesOf(loaded)).toEqual(valuesOf(there));
    expect(loaded.logprobs(batch)).toEqual(there.clone().logprobs(batch));
  });

  it("keeps a reference of itself as it was", () => {
    const [there] = both();
    const before = there.logprobs(batch).slice();
    const reference = there.reference();
    expect(reference.bytes).toBe(0);
    there.backward(batch, dlogprobs);
    there.step(new AdamW({ lr: 1e-1 }));
    const after = there.logprobs(batch).slice();
    expect(after).not.toEqual(before);
    expect(reference.logprobs([batch])[0]).toEqual(before);
    expect(there.logprobs(batch)).toEqual(after);
    expect(reference.bytes).toBe(4 * valuesOf(there).length);
  });

  it("keeps what its weights were when they take over those of others", () => {
    const shapes = [{ name: "w", shape: [3] }];
    const stores = [1, 2].map((value) => {
      const store = new DeviceParameters(ops, shapes);
      store.list[0].data.fill(value);
      store.adopt();
      return store;
    });
    const snapshot = stores[0].snapshot();
    stores[0].copyFrom(stores[1]);
    expect(snapshot.weights).toEqual(Float32Array.of(1, 1, 1));
    expect(stores[0].list[0].data).toEqual(Float32Array.of(2, 2, 2));
  });

  it("gives all of its memory back, and can do no more", async () => {
    const { ops: counting, liveBytes } = countingMemory(ops);
    const there = smallTransformer(counting);
    await there.generate([[1, 2, 3]], { maxTokens: 3 });
    there.logprobs(batch);
    there.backward(batch, dlogprobs);
    expect(liveBytes()).toBeGreaterThan(2 * Float32Array.BYTES_PER_ELEMENT * valuesOf(there).length);
    there.dispose();
    expect(liveBytes()).toBe(0);
    expect(() => there.forward(batch)).toThrow("before dispose");
  });

  it("gives the memory of its prefixes back however many they were", () => {
    const { ops: counting, liveBytes } = countingMemory(ops);
    const cache = new PrefixCache(counting, 11, [2, 3]);
    const before = liveBytes();
    let node = -1;
    for (let token = 0; token < 3000; token++) node = cache.child(node, token % 11);
    expect(liveBytes()).toBeGreaterThan(2 * before);
    cache.dispose();
    expect(liveBytes()).toBe(0);
  });
});
