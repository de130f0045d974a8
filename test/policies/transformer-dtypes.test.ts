import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { fromBf16, fromF16, toBf16, toF16 } from "../../src/ops/halves.ts";
import { openOps } from "../../src/ops/native.ts";
import type { Dtype, Floats } from "../../src/ops/ops.ts";
import { AdamW } from "../../src/optimizer.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { onHost } from "../../src/ops/storage.ts";
import { smallConfig, valuesOf } from "../support/policies.ts";
import { random } from "../support/random.ts";

let directory = "";
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterEach(() => rmSync(directory, { recursive: true }));

const ops = openOps("cpu");
const created = (dtype: Dtype) => TransformerPolicy.create(smallConfig, { random: random(1) }, { ops, dtype });
const batch = packSequences([
  [1, 2, 3, 4, 5],
  [6, 7, 8],
]);
const learn = (policy: TransformerPolicy, optimizer: AdamW): void => {
  policy.backward(batch, new Float32Array(batch.targets.length).fill(-1));
  policy.step(optimizer);
};

describe.each([
  ["bf16", (x: number) => fromBf16(toBf16(x))],
  ["f16", (x: number) => fromF16(toF16(x))],
] as const)("weights in %s", (dtype, rounded) => {
  it("are those of f32 rounded, at the start and after every step", () => {
    const [exact, half] = [created("f32"), created(dtype)];
    expect(valuesOf(half)).toEqual(valuesOf(exact).map(rounded));
    expect(valuesOf(half)).not.toEqual(valuesOf(exact));
    const seen: Floats[] = [];
    const optimizer = new AdamW({ lr: 1e-3 });
    const spy = {
      step: (o: typeof ops, params: Floats, grads: Floats) => {
        const norm = optimizer.step(o, params, grads);
        seen.push(params.slice());
        return norm;
      },
    };
    for (let step = 0; step < 3; step++) {
      half.backward(batch, new Float32Array(batch.targets.length).fill(-1));
      half.step(spy);
      expect(valuesOf(half)).toEqual(Float64Array.from(seen[step], rounded));
    }
  });

  it("keep steps that are smaller than their spacing, in the master copies", () => {
    const policy = created(dtype);
    const before = valuesOf(policy);
    const optimizer = new AdamW({ lr: 2e-6 });
    for (let step = 0; step < 400; step++) learn(policy, optimizer);
    const moved = valuesOf(policy).filter((value, i) => value !== before[i]).length;
    expect(moved).toBeGreaterThan(before.length / 20);
  });

  it("are saved as the masters, with which a policy goes on to the same bits", async () => {
    const [policy, optimizer] = [created(dtype), new AdamW({ lr: 1e-3 })];
    learn(policy, optimizer);
    await policy.save(directory);
    const again = await TransformerPolicy.load(directory, { ops, dtype });
    const copy = policy.clone();
    expect(again.dtype).toBe(dtype);
    expect(copy.dtype).toBe(dtype);
    for (const other of [again, copy]) {
      expect(valuesOf(other)).toEqual(valuesOf(policy));
      const going = new AdamW({ lr: 1e-3 });
      going.restore({ ...optimizer.state, m: optimizer.state.m.slice(), v: optimizer.state.v.slice() });
      learn(other, going);
    }
    learn(policy, optimizer);
    for (const other of [again, copy]) expect(valuesOf(other)).toEqual(valuesOf(policy));
  });

  it("that a person writes become the masters", () => {
    const policy = created(dtype);
    const [{ data }] = policy.parameters();
    data[3] = 0.1;
    policy.changed();
    expect(data[3]).toBe(rounded(Math.fround(0.1)));
    policy.step({ step: (_, params) => onHost(params)[3] });
    expect(policy.step({ step: (_, params) => onHost(params)[3] })).toBe(Math.fround(0.1));
  });
});

it("a type that weights cannot have is refused", async () => {
  await created("f32").save(directory);
  await expect(TransformerPolicy.load(directory, { dtype: "int8" as Dtype })).rejects.toThrow(
    "TransformerPolicy: expected dtype to be one of f32, bf16, f16, received int8",
  );
});
