import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import { runsOnHost } from "../support/cuda.ts";
import { forgetAfterEach, onHostDevice, twoDevices } from "../support/host-device.ts";

let staged: DeviceOps;
let direct: DeviceOps;

onHostDevice(() => {
  staged = openOps("cuda");
  staged.memory.from([1]).download();
  // The queue of a device looks for page-locked memory at its first copy.
  process.env["STEPCREDIT_SIMT_PINNED"] = "0";
  direct = openOps("cuda", { index: 1 });
  direct.memory.from([1]).download();
  delete process.env["STEPCREDIT_SIMT_PINNED"];
}, twoDevices);
forgetAfterEach("STEPCREDIT_SIMT_FAILURE");

/** As native/cuda/staging.cu has it. */
const chunkBytes = 2 ** 20;
const chunks = 4;
const whole = chunkBytes / 2;

/** Bits of half floats that differ from place to place, in an array that begins at an odd place of its buffer. */
function bitsOf(length: number): Uint16Array {
  const bits = new Uint16Array(length + 3).subarray(3);
  for (let i = 0; i < length; i++) bits[i] = (i * 40503 + (i >> 16)) & 0xffff;
  return bits;
}

const bytesOf = (array: Uint16Array | Float32Array): Buffer =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength);

const lengths = [1, 31, whole - 1, whole, whole + 1, 3 * whole, chunks * whole, chunks * whole + 1, 11 * whole + 7];

describe.skipIf(!runsOnHost).each(["by way of page-locked memory", "without it"])("a copy %s", (way) => {
  const opsOf = (): DeviceOps => (way === "without it" ? direct : staged);

  it.each(lengths)("of %i half floats arrives bit by bit, there and back", (length) => {
    const bits = bitsOf(length);
    const tensor = opsOf().memory.allocate([length + 5], "bf16");
    const part = tensor.subarray(1, length + 1);
    part.upload({ dtype: "bf16", data: bits });
    expect(bytesOf(part.download()).equals(bytesOf(bits))).toBe(true);
    const around = tensor.download();
    expect([around[0], ...around.subarray(length + 1)]).toEqual([0, 0, 0, 0, 0]);
    tensor.dispose();
  });

  it("of many arrays in one call keeps them apart", () => {
    const ops = opsOf();
    const N = 2 ** 19 + 3;
    const stepCredits = Float32Array.from({ length: 2 * N }, (_, i) => i);
    const stepOf = Int32Array.from({ length: N }, (_, n) => N - 1 - n);
    const advantages = ops.scatterAdvantages({ stepCredits, stepOf });
    expect(advantages.findIndex((credit, i) => credit !== 2 * (N - 1 - (i >> 1)) + (i & 1))).toBe(-1);
    for (let call = 0; call < 300; call++) {
      const small = ops.scatterAdvantages({ stepCredits: Float32Array.of(call, -call), stepOf: Int32Array.of(0) });
      expect(small).toEqual(Float32Array.of(call, -call));
    }
  });
});

describe.skipIf(!runsOnHost)("a copy of more than page-locked memory holds", () => {
  it("hears of a failure when it wants to use a chunk again, and of one that fits at the wait", () => {
    const long = staged.memory.allocate([chunks * whole + 1], "bf16");
    const short = staged.memory.allocate([whole], "bf16");
    const unstaged = direct.memory.allocate([chunks * whole + 1], "bf16");
    process.env["STEPCREDIT_SIMT_FAILURE"] = "1";
    expect(() => long.download()).toThrow(/by the time of a copy from the device.*illegal memory access/);
    expect(() => long.upload({ dtype: "bf16", data: bitsOf(long.length) })).toThrow(
      /by the time of a copy to the device/,
    );
    expect(() => short.download()).toThrow(/by the time of a wait/);
    expect(() => unstaged.download()).toThrow(/by the time of a wait/);
    delete process.env["STEPCREDIT_SIMT_FAILURE"];
    const bits = bitsOf(long.length);
    long.upload({ dtype: "bf16", data: bits });
    expect(bytesOf(long.download()).equals(bytesOf(bits))).toBe(true);
  });
});
