/** Buffers that another party transfers away, resizes or writes to: an error or a result, never harm to the process. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOps, Tensor, type LogprobsArguments } from "../../src/ops/index.ts";
import { prelude, runChild } from "../support/child.ts";
import { install, type Installed } from "../support/installed.ts";
import { bitsIn } from "../support/recorded-calls.ts";

const ops = openOps("cpu");

const logits = [0, 1, 2, 3, 4, 5, 6, 7, 3, 2, 1, 0];
function rows() {
  return {
    logits: Float32Array.from(logits),
    targetOffsets: Int32Array.of(0, 1, 2, 3),
    targets: Int32Array.of(3, 0, 1),
  };
}
const expected = bitsIn(ops.logprobs(rows()));

/** A buffer that can be resized, which the target of the compiler does not know of yet. */
interface Resizable extends ArrayBuffer {
  resize(bytes: number): void;
}
const resizable = (bytes: number, most: number): Resizable =>
  new (ArrayBuffer as never as new (bytes: number, options: object) => Resizable)(bytes, { maxByteLength: most });

/** A view without a length of its own: it is as long as its buffer is. */
function tracking(values: readonly number[], most = 64): Float32Array & { readonly buffer: Resizable } {
  const array = new Float32Array(resizable(4 * values.length, 4 * most));
  array.set(values);
  return array;
}

const takeAway = (array: { readonly buffer: ArrayBufferLike }): void => {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
};

describe.each(["sync", "promise"] as const)("a %s call", (form) => {
  const call = async (args: LogprobsArguments) => (form === "sync" ? ops.logprobs(args) : ops.promises.logprobs(args));

  it.each(["logits", "targets", "targetOffsets"] as const)(
    "refuses %s that were transferred away before",
    async (name) => {
      const args = rows();
      takeAway(args[name]);
      await expect(call(args)).rejects.toThrow(RangeError);
    },
  );

  it("refuses a view that its buffer has become too short for, and takes one that is as long as its buffer", async () => {
    const fixed = new Float32Array(resizable(48, 256), 0, 12);
    fixed.set(logits);
    expect(bitsIn(await call({ ...rows(), logits: fixed }))).toBe(expected);
    fixed.buffer.resize(44);
    await expect(call({ ...rows(), logits: fixed })).rejects.toThrow(RangeError);

    const array = tracking(logits);
    expect(bitsIn(await call({ ...rows(), logits: array }))).toBe(expected);
    array.buffer.resize(4 * 11);
    await expect(call({ ...rows(), logits: array })).rejects.toThrow(RangeError);
    array.buffer.resize(4 * 15);
    expect((await call({ ...rows(), logits: array })).logprobs).toHaveLength(3); // V = 5
  });

  it("reads every property once, before it checks any", async () => {
    const args = rows();
    let reads = 0;
    const taking = {
      ...args,
      get temperature() {
        reads++;
        takeAway(args.targets);
        args.targetOffsets.fill(1 << 30);
        return 1;
      },
    };
    await expect(call(taking)).rejects.toThrow(RangeError);
    expect(reads).toBe(1);

    const shrinking = tracking(logits);
    const resizing = {
      ...rows(),
      logits: shrinking,
      get temperature() {
        shrinking.buffer.resize(0);
        return 1;
      },
    };
    await expect(call(resizing)).rejects.toThrow(RangeError);
  });

  it("reads the properties of options once, before it checks anything", async () => {
    const loss = {
      logprobs: new Float32Array(2),
      oldLogprobs: new Float32Array(2),
      refLogprobs: new Float32Array(2),
      advantages: new Float32Array(4),
      weights: new Float32Array(2),
      epsLow: 0.2,
      epsHigh: 0.2,
      kl: {
        estimator: "k3" as const,
        get coefficient() {
          takeAway(loss.weights);
          return 1;
        },
      },
    };
    const running = async () => (form === "sync" ? ops.policyLoss.clip(loss) : ops.promises.policyLoss.clip(loss));
    await expect(running()).rejects.toThrow("policyLoss.clip: expected weights [N] to be a Float32Array of length 2");
  });

  it("refuses what only looks like an array", async () => {
    const wrong = [
      new Proxy(rows().logits, {}),
      Object.create(Float32Array.prototype),
      new DataView(new ArrayBuffer(48)),
      { length: 12, buffer: new ArrayBuffer(48), byteOffset: 0, stride: 2 },
    ];
    for (const array of wrong) await expect(call({ ...rows(), logits: array as never })).rejects.toThrow(TypeError);
  });
});

describe("while a promise call runs", () => {
  it("inputs may be transferred, posted and resized away", async () => {
    const transferred = rows();
    const first = ops.promises.logprobs(transferred);
    takeAway(transferred.logits);

    const posted = rows();
    const second = ops.promises.logprobs(posted);
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(posted.targets, [posted.targets.buffer]);
    port1.close();
    port2.close();

    const array = tracking(logits);
    const third = ops.promises.logprobs({ ...rows(), logits: array });
    array.buffer.resize(0);

    expect(bitsIn(await first)).toBe(expected);
    expect(bitsIn(await second)).toBe(expected);
    expect(bitsIn(await third)).toBe(expected);
  });

  it("an output that is taken away or shrunk rejects the call, which then writes nothing", async () => {
    for (const harm of [takeAway, ({ buffer }: { buffer: ArrayBufferLike }) => (buffer as Resizable).resize(8)]) {
      const lse = new Float32Array(3).fill(7);
      const logprobs = tracking([7, 7, 7]);
      const running = ops.promises.logprobs({ ...rows(), lse, logprobs });
      harm(logprobs);
      await expect(running).rejects.toThrow(
        "logprobs: expected logprobs to have 3 elements until the call has ended, received an array that was detached or shrunk",
      );
      expect([...lse]).toEqual([7, 7, 7]);
    }
  });

  it("an output may grow, or shrink and grow again", async () => {
    const logprobs = tracking([7, 7, 7]);
    const running = ops.promises.logprobs({ ...rows(), logprobs });
    logprobs.buffer.resize(4);
    logprobs.buffer.resize(40);
    await running;
    expect(bitsIn(logprobs.slice(0, 3))).toBe(bitsIn(ops.logprobs(rows()).logprobs));
  });

  it("a tensor's buffer can be handed over without harm", async () => {
    const tensor = Tensor.from(logits);
    const buffer = tensor.data.buffer as ArrayBuffer & { transfer?: () => ArrayBuffer };
    const running = ops.promises.logprobs({ ...rows(), logits: tensor.data as Float32Array });
    try {
      structuredClone(buffer, { transfer: [buffer] });
    } catch (error) {
      expect(error).toMatchObject({ name: "DataCloneError" }); // newer engines refuse, older ones copy
    }
    const moved = buffer.transfer?.();
    expect(bitsIn(await running)).toBe(expected);
    tensor.dispose();
    expect(moved === undefined || new Float32Array(moved)[3] === 3).toBe(true);
  });
});

describe("memory that is shared with a thread that writes to it", () => {
  let installed: Installed;
  beforeAll(() => {
    installed = install();
    installed.linkAddon();
  });
  afterAll(() => installed.remove());

  it.each(["sync", "promise"])("may hold any ids and any numbers at any time of a %s call", (form) => {
    const { status, stdout, stderr } = runChild(
      installed,
      `
      import { Worker } from "node:worker_threads";
      const shared = (Kind, values) => {
        const array = new Kind(new SharedArrayBuffer(4 * values.length));
        array.set(values);
        return array;
      };
      const [R, V] = [4, 4096];
      const logits = shared(Float32Array, new Float32Array(R * V));
      const targets = shared(Int32Array, [0, 1, 2, 3]);
      const targetOffsets = shared(Int32Array, [0, 1, 2, 3, 4]);
      const streams = shared(Int32Array, [0, 1, 2, 3]);
      const worker = new Worker(${JSON.stringify(`(async () => {
        ${prelude(installed)}
        const { workerData: { logits, targets, targetOffsets } } = await import("node:worker_threads");
        for (let i = 0; ; i++) {
          targets.fill(i % 2 ? 1 << 30 : 1);
          targetOffsets.set(i % 2 ? [0, 1 << 29, 1 << 30, -5, 1 << 20] : [0, 1, 2, 3, 4]);
          logits.fill([0, -Infinity, NaN, Infinity, 3e38][i % 5], (i * 997) % 16384);
        }
      })()`)}, { eval: true, workerData: { logits, targets, targetOffsets } });
      await new Promise((resolve) => worker.once("online", resolve));
      const call = async (op, args) => (${JSON.stringify(form)} === "sync" ? ops[op](args) : ops.promises[op](args));
      const counts = { done: 0, refused: 0 };
      for (let i = 0; i < 1500; i++) {
        for (const [op, args] of [
          ["logprobs", { logits, targets, targetOffsets }],
          ["sample", { logits, streams, positions: streams, seed: i, topK: 50, topP: 0.9 }],
          ["sample", { logits, streams, positions: streams, seed: i }],
        ]) {
          try {
            await call(op, args);
            counts.done++;
          } catch (error) {
            if (!(error instanceof RangeError)) throw error;
            counts.refused++;
          }
        }
      }
      await worker.terminate();
      console.log(counts.done + counts.refused);
    `,
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "4500\n", stderr: "" });
  });
});
