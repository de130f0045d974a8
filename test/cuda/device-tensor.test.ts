import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import type { DeviceTensor } from "../../src/ops/device-tensor.ts";
import type { Dtype } from "../../src/ops/ops.ts";
import { onHost } from "../../src/ops/storage.ts";
import { randomArrays, typed, widened } from "../support/arrays.ts";
import { runsOnHost } from "../support/cuda.ts";
import { credits, forgetAfterEach, onHostDevice, scattered, stepOf, twoDevices } from "../support/host-device.ts";

let ops: DeviceOps;
let second: DeviceOps;

onHostDevice(() => {
  ops = openOps("cuda");
  second = openOps("cuda", { index: 1 });
}, twoDevices);
forgetAfterEach("STEPCREDIT_SIMT_MEMORY", "STEPCREDIT_SIMT_FAILURE");

describe.skipIf(!runsOnHost)("a tensor on a device", () => {
  it("starts as zeros, and gives back what was written to it", () => {
    const tensor = ops.memory.allocate([2, 3]);
    expect(tensor).toMatchObject({ device: "cuda/0", dtype: "f32", shape: [2, 3], length: 6, disposed: false });
    expect(tensor.download()).toEqual(new Float32Array(6));
    tensor.upload(credits);
    expect(tensor.download()).toEqual(credits);
    tensor.clear();
    expect(tensor.download()).toEqual(new Float32Array(6));
  });

  it("holds half floats, rounded to the nearest or by their bits", () => {
    const bits = Uint16Array.of(0x3f80, 0xc000);
    expect(ops.memory.from([1, -2], [2], "bf16").download()).toEqual(bits);
    expect(ops.memory.from({ dtype: "bf16", data: bits }).download()).toEqual(bits);
    expect(ops.memory.from({ dtype: "bf16", data: bits }, [2], "f32").download()).toEqual(Float32Array.of(1, -2));
  });

  it.each(["bf16", "f16"] as const)("copies between f32 and %s to the nearest, wherever they lie", (dtype) => {
    const every = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
    const numbers = widened({ dtype, data: every });
    const between = Float32Array.from([
      ...numbers.map((x, i) => (x + numbers[Math.min(i + 1, 65535)]) / 2),
      ...randomArrays(1).normals(2001, 1e-6),
      ...randomArrays(2).normals(2000, 1e5),
    ]);
    for (const begin of [0, 1]) {
      const room = (length: number, type?: Dtype): DeviceTensor =>
        ops.memory.allocate([length + begin], type).subarray(begin, length + begin);
      const [wide, half] = [room(every.length), room(every.length, dtype)];
      half.upload({ dtype, data: every });
      wide.copyFrom(half);
      expect(wide.download()).toEqual(numbers);
      const [from, to] = [room(between.length), room(between.length, dtype)];
      from.upload(between);
      to.copyFrom(from);
      expect(onHost(to)).toEqual(widened(typed(dtype, between)));
    }
    expect(() => ops.memory.allocate([2]).copyFrom(ops.memory.allocate([3], dtype))).toThrow(
      "DeviceTensor.copyFrom: expected a tensor of 2 numbers, received a tensor of 3 numbers",
    );
  });

  it("may be empty", () => {
    expect(ops.memory.allocate([0, 4]).download()).toEqual(new Float32Array(0));
  });

  it("stands for arrays of an op, read and written, beside arrays of the host", () => {
    const stepCredits = ops.memory.from(credits);
    const advantages = ops.memory.allocate([5, 2]);
    expect(ops.scatterAdvantages({ stepCredits, stepOf, advantages })).toBe(advantages);
    expect(advantages.download()).toEqual(scattered);
    expect(ops.scatterAdvantages({ stepCredits, stepOf })).toEqual(scattered);
    const onHost = new Float32Array(10);
    ops.scatterAdvantages({ stepCredits: credits, stepOf, advantages: onHost });
    expect(onHost).toEqual(scattered);
  });

  it("stands for them in promise forms, after the sync calls before, and may be disposed of meanwhile", async () => {
    const stepCredits = ops.memory.allocate([3, 2]);
    const advantages = ops.memory.allocate([5, 2]);
    ops.scatterAdvantages({ stepCredits: credits, stepOf: Int32Array.of(0, 1, 2), advantages: stepCredits });
    const call = ops.promises.scatterAdvantages({ stepCredits, stepOf, advantages });
    stepCredits.dispose();
    await call;
    expect(advantages.download()).toEqual(scattered);
    const calls = Array.from({ length: 20 }, () => ops.promises.scatterAdvantages({ stepCredits: credits, stepOf }));
    for (const result of await Promise.all(calls)) expect(result).toEqual(scattered);
  });

  it("has parts that share its memory", () => {
    const all = ops.memory.allocate([16]);
    const part = all.subarray(4, 14);
    ops.scatterAdvantages({ stepCredits: credits, stepOf, advantages: part });
    expect(all.download()).toEqual(Float32Array.of(0, 0, 0, 0, ...scattered, 0, 0));
    expect(part.subarray(8).download()).toEqual(scattered.subarray(8));
    part.dispose();
    expect(all.disposed).toBe(false);
    all.dispose();
    expect(part.disposed).toBe(true);
    expect(() => part.download()).toThrow("DeviceTensor.download: [10] of cuda/0 has been disposed of");
    expect(() => all.subarray(0, 17)).toThrow("has been disposed of");
  });

  it("is an error once it was disposed of", () => {
    const tensor = ops.memory.from(credits);
    tensor.dispose();
    tensor.dispose();
    expect(tensor.disposed).toBe(true);
    for (const use of [() => tensor.download(), () => tensor.upload(credits), () => tensor.clear()]) {
      expect(use).toThrow("[6] of cuda/0 has been disposed of");
    }
    expect(() => ops.scatterAdvantages({ stepCredits: tensor, stepOf })).toThrow(
      "scatterAdvantages: stepCredits [S, 2] on cuda/0 has been disposed of",
    );
  });

  it("is refused by the ops of another device, and by those of the processor", () => {
    const stepCredits = second.memory.from(credits);
    expect(second.scatterAdvantages({ stepCredits, stepOf })).toEqual(scattered);
    expect(() => ops.scatterAdvantages({ stepCredits, stepOf })).toThrow(
      /expected stepCredits to be an array of the device of the op, not one of another/,
    );
    const onHost = openOps("cpu") as unknown as DeviceOps;
    expect(() => onHost.scatterAdvantages({ stepCredits, stepOf })).toThrow(
      /expected stepCredits to be an array of the host, not one of a device/,
    );
  });

  it("is checked for length and type like any array", () => {
    const advantages = ops.memory.allocate([9]);
    expect(() => ops.scatterAdvantages({ stepCredits: credits, stepOf, advantages })).toThrow(
      "scatterAdvantages: expected advantages [N, 2] on cuda/0 to have length 10, received 9",
    );
    const stepCredits = ops.memory.allocate([6], "f16");
    expect(() => ops.scatterAdvantages({ stepCredits, stepOf })).toThrow(
      "scatterAdvantages: expected stepCredits [S, 2] on cuda/0 to be f32, received f16",
    );
    const rows = { targetOffsets: Int32Array.of(0, 1), targets: Int32Array.of(0), logits: Float32Array.of(1) };
    expect(() => ops.logprobs({ ...rows, temperature: ops.memory.allocate([1]) as unknown as Float32Array })).toThrow(
      "logprobs: expected temperature [T] to be a Float32Array of length 1, received an array of 1 f32 on cuda/0",
    );
    expect(() => advantages.upload(credits)).toThrow("DeviceTensor.upload: expected 9 numbers for [9], received 6");
    expect(() => advantages.subarray(3, 10)).toThrow("DeviceTensor.subarray: expected end to be an integer in 3 … 9");
    expect(() => ops.memory.allocate([-1])).toThrow("DeviceTensor: expected shape[0] to be an integer ≥ 0");
  });
});

describe.skipIf(!runsOnHost)("a device", () => {
  it("without memory left is an error that one can catch, and goes on", () => {
    process.env["STEPCREDIT_SIMT_MEMORY"] = String(64 << 20);
    expect(() => ops.memory.allocate([2 ** 26])).toThrow(RangeError);
    expect(() => ops.memory.allocate([2 ** 26])).toThrow(
      /^DeviceTensor: expected a shape that fits into the memory of cuda\/0, received \[67108864\], .*no memory for 268435456 bytes.*out of memory/,
    );
    const large = new Float32Array(2 ** 25);
    expect(() => ops.scatterAdvantages({ stepCredits: large, stepOf })).toThrow(/scatter_advantages: .*out of memory/);
    expect(ops.scatterAdvantages({ stepCredits: credits, stepOf })).toEqual(scattered);
  });

  it("gives memory that was released and kept to another size before it has none", () => {
    process.env["STEPCREDIT_SIMT_MEMORY"] = String(64 << 20);
    for (const mebibytes of [30, 31, 32, 33, 34]) ops.memory.allocate([mebibytes << 18]).dispose();
    expect(() => ops.memory.allocate([60 << 18]).dispose()).not.toThrow();
  });

  it("that fails says so at the next wait, with the op that was enqueued last", () => {
    const advantages = ops.memory.allocate([10]);
    process.env["STEPCREDIT_SIMT_FAILURE"] = "1";
    ops.scatterAdvantages({ stepCredits: credits, stepOf, advantages });
    expect(() => ops.memory.wait()).toThrow(/^scatter_advantages: .*device 0.*illegal memory access/);
    expect(() => ops.scatterAdvantages({ stepCredits: credits, stepOf })).toThrow(/scatter_advantages: .*illegal/);
    delete process.env["STEPCREDIT_SIMT_FAILURE"];
    expect(ops.scatterAdvantages({ stepCredits: credits, stepOf })).toEqual(scattered);
  });

  it("computes where its tensors are, whichever device the thread was on last", async () => {
    const given = [ops, second].map(({ memory }) => ({
      gate: memory.from([1, -2, 3]),
      up: memory.from([4, 5, 6]),
      out: memory.allocate([3]),
    }));
    const expected = new Float32Array(3);
    openOps("cpu").swiglu({ gate: Float32Array.of(1, -2, 3), up: Float32Array.of(4, 5, 6), out: expected });
    const approximately = Array.from(expected, (x) => expect.closeTo(x, 5) as number);
    for (const turn of [0, 1, 0]) {
      const of = [ops, second][turn];
      given[turn].out.clear();
      of.memory.wait();
      [second, ops][turn].memory.from([0]); // the other device is the latest
      of.swiglu(given[turn]);
      expect(Array.from(given[turn].out.download())).toEqual(approximately);
    }
    given[1].out.clear();
    await second.promises.swiglu(given[1]);
    expect(Array.from(given[1].out.download())).toEqual(approximately);
  });

  it("that is not there is an error with those that are", () => {
    expect(() => openOps("cuda", { index: 2 })).toThrow("openOps: expected index in 0 … 1, received 2");
    expect(() => openOps("cuda", { index: 0.5 })).toThrow("openOps: expected index to be an integer ≥ 0");
    expect([ops.name, second.name]).toEqual(["cuda/0 device code on the host", "cuda/1 device code on the host"]);
  });
});
