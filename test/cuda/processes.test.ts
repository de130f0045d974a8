import { afterAll, describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import { runChild } from "../support/child.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { install, type Installed } from "../support/installed.ts";

let ops: DeviceOps;
let installed: Installed;

onHostDevice(() => {
  ops = openOps("cuda");
  installed = install();
  installed.linkAddon();
});
afterAll(() => runsOnHost && installed.remove());

/** What another process prints; it has `cuda`. */
function elsewhere(source: string): string[] {
  const { status, stdout, stderr } = runChild(installed, `const cuda = openOps("cuda");\n${source}`);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout.trim().split("\n");
}

const logits = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i));
const rest = `
  targetOffsets: Int32Array.of(0, 1, 2, 3), targets: Int32Array.of(3, 0, 1),
  oldLogprobs: Float32Array.of(-1, -2, -3), advantages: Float32Array.of(1, -1, 2),
  weights: Float32Array.of(1, 0.5, 0.25), epsLow: 0.2, epsHigh: 0.28`;

describe.skipIf(!runsOnHost)("memory of a device in two processes", () => {
  it("is one memory: what the other writes in place is here without a copy", () => {
    const all = ops.memory.from([7, ...logits, 7]);
    const shared = all.subarray(1, 13).share();
    expect(shared.byteOffset).toBe(4);
    const lines = elsewhere(`
      const handle = Uint8Array.from(${JSON.stringify([...shared.handle])});
      const logits = cuda.memory.open({ handle, byteOffset: ${shared.byteOffset}, shape: [3, 4], dtype: "f32" });
      console.log(JSON.stringify([...logits.download()]));
      cuda.policyUpdate.clip({ logits, dlogits: logits, ${rest} });
      cuda.memory.wait();
      const here = logits.export();
      console.log(cuda.memory.import(here).length);
      try { logits.share(); } catch (error) { console.log(error.message); }
      here.release();
      logits.dispose();
    `);
    expect(lines).toEqual([
      JSON.stringify([...logits]),
      "12",
      "DeviceTensor.share: [3, 4] of cuda/0 cannot be shared: the memory is another's, who alone can share it",
    ]);
    const here = ops.memory.from(logits);
    ops.policyUpdate.clip({
      logits: here,
      dlogits: here,
      targetOffsets: Int32Array.of(0, 1, 2, 3),
      targets: Int32Array.of(3, 0, 1),
      oldLogprobs: Float32Array.of(-1, -2, -3),
      advantages: Float32Array.of(1, -1, 2),
      weights: Float32Array.of(1, 0.5, 0.25),
      epsLow: 0.2,
      epsHigh: 0.28,
    });
    expect(here.download()).not.toEqual(logits);
    expect(all.download()).toEqual(Float32Array.of(7, ...here.download(), 7));
    shared.release();
  });

  it("outlives the process that opened it and ended without closing it", () => {
    const tensor = ops.memory.from(logits);
    const shared = tensor.share();
    elsewhere(`
      const handle = Uint8Array.from(${JSON.stringify([...shared.handle])});
      cuda.memory.open({ handle, byteOffset: 0, shape: [2], dtype: "f32" }).upload([5, 6]);
    `);
    expect(tensor.download()).toEqual(Float32Array.of(5, 6, ...logits.subarray(2)));
  });
});

describe.skipIf(!runsOnHost)("lent memory", () => {
  it("goes back where the tensor is forgotten, and the process ends where it is not", () => {
    const lines = elsewhere(`
      const lender = cuda.memory.from([1, 2, 3]);
      let released = 0;
      const forget = () => { cuda.memory.import({ ...lender.export(), release: () => released++ }); };
      forget();
      for (let turns = 0; released === 0 && turns < 100; turns++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      console.log(released, lender.download().join());
      globalThis.kept = cuda.memory.import({ ...lender.export(), release: () => console.log("at the end") });
    `);
    expect(lines).toEqual(["1 1,2,3"]);
  });
});
