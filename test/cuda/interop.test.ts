import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import { dlpackTypes, type LentMemory, type SharedMemory } from "../../src/ops/interop.ts";
import { runsOnHost } from "../support/cuda.ts";
import { credits, onHostDevice, scattered, stepOf, twoDevices } from "../support/host-device.ts";

let ops: DeviceOps;
let second: DeviceOps;

onHostDevice(() => {
  ops = openOps("cuda");
  second = openOps("cuda", { index: 1 });
}, twoDevices);

/** Where memory of a size that no other test asks for would be allocated next. */
function nextPlace(length: number): bigint {
  const tensor = ops.memory.allocate([length]);
  const exported = tensor.export();
  exported.release();
  tensor.dispose();
  return exported.pointer;
}

describe.skipIf(!runsOnHost)("an exported tensor", () => {
  it("is described as DLPack does: pointer, offset, shape, strides, type, device and stream", () => {
    const exported = ops.memory.allocate([2, 3, 4], "bf16").export();
    expect(exported).toMatchObject({
      byteOffset: 0,
      shape: [2, 3, 4],
      strides: [12, 4, 1],
      dtype: { code: 4, bits: 16, lanes: 1 },
      device: { type: "cuda", index: 0 },
    });
    expect(exported.pointer).toBeGreaterThan(0n);
    expect(exported.stream).toBeGreaterThan(0n);
    expect(second.memory.allocate([1]).export()).toMatchObject({
      dtype: { code: 2, bits: 32, lanes: 1 },
      device: { type: "cuda", index: 1 },
    });
    const all = ops.memory.allocate([8], "f16");
    const part = all.subarray(3, 5).export();
    expect(part).toMatchObject({ byteOffset: 6, shape: [2], strides: [1], dtype: { code: 2, bits: 16, lanes: 1 } });
    expect(part.pointer).toBe(all.export().pointer);
  });

  it("keeps its memory until it is released, disposed of or not", () => {
    const tensor = ops.memory.from(credits.subarray(0, 5));
    const exported = tensor.export();
    tensor.dispose();
    expect(tensor.disposed).toBe(true);
    expect(ops.memory.import(exported).download()).toEqual(credits.subarray(0, 5));
    expect(() => tensor.export()).toThrow("DeviceTensor.export: [5] of cuda/0 has been disposed of");

    const large = ops.memory.allocate([54321]);
    const [first, other] = [large.export(), large.export()];
    large.dispose();
    first.release();
    first.release();
    expect(nextPlace(54321)).not.toBe(first.pointer);
    other.release();
    const places = [ops.memory.allocate([54321]), ops.memory.allocate([54321])].map((next) => next.export().pointer);
    expect(places).toContain(first.pointer);
  });
});

describe.skipIf(!runsOnHost)("an imported tensor", () => {
  it.each(["f32", "bf16", "f16"] as const)("of %s stands for the memory that was lent", (dtype) => {
    const lender = ops.memory.from([1, -2, 3, -4, 5, -6], [2, 3], dtype);
    const tensor = ops.memory.import(lender.export());
    expect(tensor).toMatchObject({ device: "cuda/0", dtype, shape: [2, 3], length: 6 });
    expect(tensor.download()).toEqual(lender.download());
    tensor.upload([9, 8, 7, 6, 5, 4]);
    expect(lender.download()).toEqual(ops.memory.from([9, 8, 7, 6, 5, 4], [6], dtype).download());
    expect(ops.memory.import(lender.subarray(4, 6).export()).download()).toEqual(lender.download().subarray(4, 6));
    const { pointer } = lender.export();
    const bytes = dlpackTypes[dtype].bits / 8;
    const described = ops.memory.import({ pointer, shape: [3], dtype, byteOffset: 2 * bytes });
    expect(described.download()).toEqual(lender.download().subarray(2, 5));
  });

  it("stands for arrays of an op, after what is on the lender's stream", async () => {
    const lender = ops.memory.allocate([5, 2]);
    const exported = lender.export();
    const advantages = ops.memory.import(exported);
    ops.scatterAdvantages({ stepCredits: credits, stepOf, advantages });
    ops.memory.precede(exported.stream);
    expect(lender.download()).toEqual(scattered);
    lender.clear();
    await ops.promises.scatterAdvantages({ stepCredits: credits, stepOf, advantages });
    expect(lender.download()).toEqual(scattered);
    for (const stream of [0n, 1n, 2n]) {
      expect(ops.memory.import({ ...exported, stream }).download()).toEqual(scattered);
      ops.memory.follow(stream);
    }
  });

  it("is not freed when it is disposed of, and goes back once", async () => {
    const lender = ops.memory.from(Float32Array.from({ length: 43210 }, (_, i) => i));
    let released = 0;
    const tensor = ops.memory.import({ ...lender.export(), release: () => released++ });
    const part = tensor.subarray(1, 3);
    tensor.dispose();
    tensor.dispose();
    expect(part.disposed).toBe(true);
    await turn();
    expect(released).toBe(1);
    expect(nextPlace(43210)).not.toBe(lender.export().pointer);
    expect(lender.subarray(43207).download()).toEqual(Float32Array.of(43207, 43208, 43209));
  });

  it("goes back when the promise calls that use it have ended", async () => {
    const lender = ops.memory.from(credits);
    let released = 0;
    const stepCredits = ops.memory.import({ ...lender.export(), release: () => released++ });
    const call = ops.promises.scatterAdvantages({ stepCredits, stepOf });
    stepCredits.dispose();
    await Promise.resolve();
    expect(released).toBe(0);
    expect(await call).toEqual(scattered);
    await turn();
    expect(released).toBe(1);
  });

  it("is an error where the description is none of memory of this device", () => {
    const lender = ops.memory.allocate([6]);
    const right = { pointer: lender.export().pointer, shape: [2, 3], dtype: "f32" } as const;
    const wrong = (change: Partial<Record<keyof LentMemory, unknown>>) => () =>
      ops.memory.import({ ...right, ...change } as LentMemory);
    const expected = "memory.import: expected";
    expect(wrong({ pointer: 0n })).toThrow(
      `${expected} pointer to be an address of the device as a bigint, not null, received 0`,
    );
    expect(wrong({ pointer: 256 })).toThrow(TypeError);
    expect(wrong({ pointer: 2n ** 64n })).toThrow(`${expected} pointer to be an address`);
    expect(wrong({ byteOffset: 2 })).toThrow(
      `${expected} pointer + byteOffset to be a multiple of 4 bytes, for f32, received 0x`,
    );
    expect(wrong({ byteOffset: -4 })).toThrow(`${expected} byteOffset to be an integer ≥ 0, received number -4`);
    expect(wrong({ dtype: "f64" })).toThrow(
      `${expected} dtype to be f32, bf16 or f16, or { code, bits, lanes } of one, received f64`,
    );
    expect(wrong({ dtype: { code: 2, bits: 32, lanes: 4 } })).toThrow(`received {"code":2,"bits":32,"lanes":4}`);
    expect(wrong({ dtype: null })).toThrow(`${expected} dtype`);
    expect(wrong({ shape: [2, 1.5] })).toThrow(`${expected} shape[1] to be an integer ≥ 0, received number 1.5`);
    expect(wrong({ shape: 6 })).toThrow(`${expected} shape to be an Array of sizes, received number 6`);
    expect(wrong({ shape: [2 ** 30, 2 ** 30] })).toThrow(`${expected} a shape that fits into memory`);
    expect(wrong({ strides: [1, 2] })).toThrow(
      `${expected} strides to be those of a row-major tensor, [3, 1], received [1, 2]`,
    );
    expect(wrong({ device: { type: "cuda", index: 1 } })).toThrow(`${expected} device to be cuda/0, received cuda/1`);
    expect(wrong({ device: { type: "rocm", index: 0 } })).toThrow(`${expected} device to be cuda/0, received rocm/0`);
    expect(wrong({ stream: 7 })).toThrow(`${expected} stream to be a cudaStream_t as a bigint, received number 7`);
    expect(wrong({ release: 1 })).toThrow(`${expected} release to be a function, received number 1`);
    expect(() => ops.memory.import(undefined as unknown as LentMemory)).toThrow(
      `${expected} its argument to be a description of memory, received undefined`,
    );
    const far = { pointer: 2n ** 40n, ...{ shape: [1], dtype: "f32" as const } };
    expect(() => ops.memory.import(far)).toThrow(
      `${expected} pointer to begin 4 bytes in the memory of cuda/0, received 0x10000000000, the address is not in the memory of a device`,
    );
    expect(() => ops.memory.import(far)).toThrow(RangeError);
    expect(wrong({ shape: [2 ** 28] })).toThrow("the address is not in the memory of a device");
    const there = second.memory.allocate([1]).export();
    expect(() => ops.memory.import({ pointer: there.pointer, shape: [1], dtype: "f32" })).toThrow(
      "the address is in the memory of device 1",
    );
    expect(() => ops.memory.import(there)).toThrow(`${expected} device to be cuda/0, received cuda/1`);
  });

  it("is an error where the stream is none", async () => {
    const { pointer } = ops.memory.allocate([6]).export();
    let released = 0;
    const lent = { pointer, shape: [6], dtype: "f32", stream: 4096n, release: () => released++ } as const;
    const words = "expected stream to be one of cuda/0, received 0x1000: CUDA: ";
    expect(() => ops.memory.import(lent)).toThrow(`memory.import: ${words}following a stream: invalid resource handle`);
    expect(() => ops.memory.follow(4096n)).toThrow(`memory.follow: ${words}following a stream`);
    expect(() => ops.memory.precede(4096n)).toThrow(`memory.precede: ${words}preceding a stream`);
    expect(() => ops.memory.precede(-1n)).toThrow("memory.precede: expected stream to be a cudaStream_t as a bigint");
    await turn();
    expect(released).toBe(0);
  });
});

describe.skipIf(!runsOnHost)("shared memory", () => {
  it("is another process's to open, not this one's", () => {
    const shared = ops.memory.from(credits).share();
    expect(shared).toMatchObject({ byteOffset: 0, shape: [6], dtype: "f32" });
    expect(shared.handle).toHaveLength(64);
    expect(() => ops.memory.open(shared)).toThrow(
      /^memory\.open: \[6\] cannot be opened on cuda\/0: CUDA: opening shared memory: .*\(cudaErrorDeviceUninitialized\)/,
    );
  });

  it("is not what was imported", () => {
    const imported = ops.memory.import(ops.memory.from(credits).export());
    expect(() => imported.share()).toThrow(
      "DeviceTensor.share: [6] of cuda/0 cannot be shared: the memory is another's, who alone can share it",
    );
  });

  it("is an error where the description is wrong", () => {
    const right = { handle: new Uint8Array(64), byteOffset: 0, shape: [2], dtype: "f32" } as const;
    const wrong = (change: Partial<Record<keyof SharedMemory, unknown>>) => () =>
      ops.memory.open({ ...right, ...change } as SharedMemory);
    const expected = "memory.open: expected";
    expect(wrong({ handle: [1] })).toThrow(
      `${expected} handle to be a Uint8Array of length 64, received an Array of length 1`,
    );
    expect(wrong({ handle: new Uint8Array(66) })).toThrow(
      `${expected} handle to be a Uint8Array of length 64, received length 66`,
    );
    expect(wrong({ byteOffset: 3 })).toThrow(`${expected} byteOffset to be a multiple of 4 bytes, for f32, received 3`);
    expect(wrong({ dtype: "i32" })).toThrow(`${expected} dtype to be f32, bf16 or f16`);
    expect(wrong({ shape: [-1] })).toThrow(`${expected} shape[0] to be an integer ≥ 0`);
    expect(wrong({})).toThrow("memory.open: [2] cannot be opened on cuda/0: CUDA: opening shared memory: ");
    const gone = { ...right, handle: Uint8Array.from({ length: 64 }, () => 255) };
    expect(() => ops.memory.open(gone)).toThrow("memory.open: [2] cannot be opened on cuda/0");
  });

  it("stays until it is released", () => {
    const tensor = ops.memory.allocate([32109]);
    const { pointer, release } = tensor.export();
    const shared = tensor.share();
    release();
    tensor.dispose();
    expect(nextPlace(32109)).not.toBe(pointer);
    shared.release();
    const places = [ops.memory.allocate([32109]), ops.memory.allocate([32109])].map((next) => next.export().pointer);
    expect(places).toContain(pointer);
  });
});
