import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import { prelude } from "../support/child.ts";
import { runsOnHost } from "../support/cuda.ts";
import { credits, onHostDevice, scattered, stepOf, twoDevices } from "../support/host-device.ts";
import { install, type Installed } from "../support/installed.ts";

let ops: DeviceOps;
let installed: Installed;

onHostDevice(() => {
  ops = openOps("cuda");
  installed = install();
  installed.linkAddon();
}, twoDevices);
afterAll(() => runsOnHost && installed.remove());

/**
 * Another process, which has `cuda`, `second` and `here`, an object of its own. It runs what it is told, one after the other, and
 * gives what that returns; an error is its message.
 */
function another() {
  const source = `
    const { createInterface } = await import("node:readline");
    const [cuda, second, here] = [openOps("cuda"), openOps("cuda", { index: 1 }), {}];
    for await (const line of createInterface({ input: process.stdin })) {
      let answer;
      try {
        answer = new Function("cuda", "second", "here", JSON.parse(line))(cuda, second, here);
      } catch (error) {
        answer = error.message;
      }
      console.log(JSON.stringify(answer ?? null));
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", `${prelude(installed)}\n${source}`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, "exit");
  return {
    async runs(told: string): Promise<unknown> {
      child.stdin.write(`${JSON.stringify(told)}\n`);
      const { value } = (await answers.next()) as { value: string };
      return JSON.parse(value);
    },
    async ends(): Promise<unknown> {
      child.stdin.end();
      const [status] = (await ended) as [unknown];
      return status;
    },
  };
}

const bytes = (handle: Uint8Array): string => `Uint8Array.from(${JSON.stringify([...handle])})`;

describe.skipIf(!runsOnHost)("an event of two processes", () => {
  it("lets them take turns with memory that both have, and neither waits", async () => {
    const other = another();
    const tensors = { stepCredits: ops.memory.allocate([3, 2]), advantages: ops.memory.allocate([5, 2]) };
    const shared = Object.entries(tensors).map(([name, tensor]) => ({ name, memory: tensor.share() }));
    for (const { name, memory } of shared) {
      const { handle, byteOffset, shape } = memory;
      const place = `{ handle: ${bytes(handle)}, byteOffset: ${byteOffset}, shape: [${shape.join()}], dtype: "f32" }`;
      await other.runs(`here.${name} = cuda.memory.open(${place}); return null`);
    }
    const [mine, theirs] = [ops.memory.event(), ops.memory.event()];
    expect(mine.handle).toHaveLength(64);
    await other.runs(`here.mine = cuda.memory.openEvent(${bytes(theirs.handle)}); return null`);
    await other.runs(`here.theirs = cuda.memory.openEvent(${bytes(mine.handle)}); return null`);
    for (const factor of [1, 2]) {
      tensors.stepCredits.copyFrom(ops.memory.from(credits.map((x) => factor * x)));
      mine.record();
      const told = await other.runs(`
        here.theirs.wait();
        const { stepCredits, advantages } = here;
        cuda.scatterAdvantages({ stepCredits, stepOf: Int32Array.of(${stepOf.join()}), advantages });
        here.mine.record();`);
      expect(told).toBeNull();
      theirs.wait();
      expect(tensors.advantages.download()).toEqual(scattered.map((x) => factor * x));
    }
    await other.runs("cuda.memory.wait(); here.stepCredits.dispose(); here.advantages.dispose(); here.mine.dispose()");
    expect(await other.ends()).toBe(0);
    for (const { memory } of shared) memory.release();
    for (const event of [mine, theirs]) event.dispose();
  });

  it("is recorded by either of them, before the other waits", async () => {
    const other = another();
    const event = ops.memory.event();
    const nobody = "DeviceEvent.wait: failed on cuda/0: CUDA: waiting for an event: nobody has recorded the event";
    await other.runs(`here.event = cuda.memory.openEvent(${bytes(event.handle)}); return null`);
    expect(() => event.wait()).toThrow(nobody);
    expect(await other.runs("here.event.wait()")).toContain(nobody);
    expect(await other.runs("here.event.record()")).toBeNull();
    event.wait();
    expect(await other.runs("here.event.wait()")).toBeNull();
    await other.ends();
    event.dispose();
  });

  it("is an error once it was disposed of, here or where it was made", async () => {
    const other = another();
    const event = ops.memory.event();
    const { handle } = event;
    await other.runs(`here.event = cuda.memory.openEvent(${bytes(handle)}); return null`);
    event.dispose();
    event.dispose();
    expect(event.disposed).toBe(true);
    expect(() => event.record()).toThrow("DeviceEvent.record: the event of cuda/0 has been disposed of");
    expect(() => event.wait()).toThrow("DeviceEvent.wait: the event of cuda/0 has been disposed of");
    const failed = "failed on cuda/0: CUDA: recording an event: invalid resource handle";
    expect(await other.runs("here.event.record()")).toContain(`DeviceEvent.record: ${failed}`);
    expect(await other.runs(`cuda.memory.openEvent(${bytes(handle)})`)).toContain("memory.openEvent: the event cannot");
    await other.ends();
  });

  it("is opened by its own handle, on its own device, in another process", async () => {
    const other = another();
    const event = ops.memory.event();
    const memory = ops.memory.allocate([4]).share();
    const refused = "memory.openEvent: the event cannot be opened on cuda/";
    expect(() => ops.memory.openEvent(event.handle)).toThrow(
      `${refused}0: CUDA: opening an event: invalid device context`,
    );
    expect(() => ops.memory.openEvent(new Uint8Array(64))).toThrow(
      `${refused}0: CUDA: opening an event: invalid resource`,
    );
    expect(await other.runs(`cuda.memory.openEvent(${bytes(memory.handle)})`)).toContain(`${refused}0: CUDA`);
    expect(await other.runs(`second.memory.openEvent(${bytes(event.handle)})`)).toContain("cudaErrorInvalidDevice");
    const place = `{ handle: ${bytes(event.handle)}, byteOffset: 0, shape: [4], dtype: "f32" }`;
    expect(await other.runs(`cuda.memory.open(${place})`)).toContain("memory.open: [4] cannot be opened on cuda/0");
    expect(() => ops.memory.openEvent([] as unknown as Uint8Array)).toThrow(
      "memory.openEvent: expected handle to be a Uint8Array of length 64, received an Array of length 0",
    );
    expect(() => ops.memory.openEvent(new Uint8Array(63))).toThrow(
      "memory.openEvent: expected handle to be a Uint8Array of length 64, received length 63",
    );
    await other.ends();
    memory.release();
    event.dispose();
  });
});
