import { getEventListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { numThreads, openOps, reference, setNumThreads, Tensor } from "../../src/ops/index.ts";
import { cases } from "../support/cases.ts";
import { float32 } from "../support/cases/op-case.ts";
import { longCall, endless } from "../support/long-call.ts";
import { bitsIn, opAt, pathsOf, recording, withArrays } from "../support/recorded-calls.ts";

const ops = openOps("cpu", { blas: false });
const { promises } = ops;

// Endless calls are endless on two threads.
const threads = numThreads();
beforeAll(() => setNumThreads(2));
afterAll(() => setNumThreads(threads));

/** A sharp distribution of three tokens over V = 4. */
function rows() {
  return {
    logits: Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7, 3, 2, 1, 0]),
    targetOffsets: Int32Array.of(0, 1, 2, 3),
    targets: Int32Array.of(3, 0, 1),
  };
}

const placements = {
  "ordinary memory": (array: { slice(): never }) => array.slice(),
  "the memory of tensors": (array: Float32Array) => {
    if (!(array instanceof Float32Array)) return (array as { slice(): never }).slice();
    return Tensor.from(array).data as never;
  },
  "shared memory": (array: Float32Array) => {
    const Kind = array.constructor as Float32ArrayConstructor;
    const shared = new Kind(new SharedArrayBuffer(array.byteLength)) as never as Float32Array;
    shared.set(array);
    return shared as never;
  },
} satisfies Record<string, (array: never) => never>;

describe("promise forms", () => {
  it("there is one of every op", () => {
    expect(pathsOf(promises)).toEqual(pathsOf(ops));
    expect(pathsOf(promises)).toEqual(expect.arrayContaining(["logprobs", "policyLoss.clip", "policyUpdate.clip"]));
  });

  it.each(Object.entries(placements))(
    "give every case of the table the bits of the sync form, in %s",
    async (_, place) => {
      const sync = recording(ops);
      for (const { run } of cases) run(sync.ops, float32);
      expect(new Set(sync.calls.map(({ path }) => path.join("."))).size).toBeGreaterThan(30);
      for (const { path, before, after, result } of sync.calls) {
        const args = withArrays(before, place as never);
        const got = await opAt(promises, path)(args);
        expect(bitsIn(got), path.join(".")).toBe(bitsIn(result));
        expect(bitsIn(args), path.join(".")).toBe(bitsIn(after));
      }
    },
  );

  it("reject wrong arguments with the sync form's error", async () => {
    const wrong = { ...rows(), targets: Int32Array.of(3, 0, 4) };
    expect(() => ops.logprobs(wrong)).toThrow("logprobs: expected targets [N] in 0 … 3, received 4 at index 2");
    await expect(promises.logprobs(wrong)).rejects.toThrow(RangeError);
    await expect(promises.logprobs(wrong)).rejects.toThrow(
      "logprobs: expected targets [N] in 0 … 3, received 4 at index 2",
    );
    await expect(promises.logprobs(undefined as never)).rejects.toThrow(TypeError);
    await expect(promises.logprobs(rows(), { signal: "abort" as never })).rejects.toThrow(
      "logprobs: expected signal to be an AbortSignal, received string",
    );
  });

  it("reject what an op finds wrong in its result", async () => {
    const args = {
      logits: new Float32Array(4).fill(NaN),
      streams: Int32Array.of(0),
      positions: Int32Array.of(0),
      seed: 1,
    };
    await expect(promises.sample(args)).rejects.toThrow("row 0 without");
  });

  it("take their inputs as they are at the call: they may be overwritten and transferred away afterwards", async () => {
    const args = rows();
    const expected = bitsIn(ops.logprobs(rows()));
    const overwritten = promises.logprobs(args);
    args.logits.fill(NaN);
    args.targets.fill(1 << 30);
    args.targetOffsets.fill(-1);
    expect(bitsIn(await overwritten)).toBe(expected);

    const gone = rows();
    const transferred = promises.logprobs(gone);
    structuredClone(gone.logits.buffer, { transfer: [gone.logits.buffer] });
    structuredClone(gone.targets.buffer, { transfer: [gone.targets.buffer] });
    expect(gone.logits.length).toBe(0);
    expect(bitsIn(await transferred)).toBe(expected);
  });

  it("write into the arrays that were passed, and return them", async () => {
    const [lse, logprobs] = [new Float32Array(3).fill(7), new Float32Array(3).fill(7)];
    const running = promises.logprobs({ ...rows(), lse, logprobs });
    expect([...logprobs]).toEqual([7, 7, 7]);
    const result = await running;
    expect(result.lse).toBe(lse);
    expect(result.logprobs).toBe(logprobs);
    expect(bitsIn(logprobs)).toBe(bitsIn(ops.logprobs(rows()).logprobs));
  });

  it("write over their inputs where these are the outputs too, views that overlap included", async () => {
    const gradient = (logits: Float32Array) => {
      const { lse } = ops.logprobs(rows());
      return { ...rows(), logits, lse, dlogprobs: Float32Array.of(1, 2, 3), dlogits: logits };
    };
    const [expected, logits] = [rows().logits, rows().logits];
    ops.logprobsBackward(gradient(expected));
    await promises.logprobsBackward(gradient(logits));
    expect(bitsIn(logits)).toBe(bitsIn(expected));

    // Parameters and moments side by side in one buffer, the gradient lying over the first moment's copy at its end.
    const settings = { step: 1, lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, gradScale: 1 };
    const parts = (all: Float32Array) => ({
      ...settings,
      params: all.subarray(1, 6),
      m: all.subarray(6, 11),
      v: all.subarray(11, 16),
      grads: all.subarray(1, 6),
    });
    const one = Float32Array.from({ length: 17 }, (_, i) => i / 8);
    const other = one.slice();
    ops.adamw(parts(one));
    await promises.adamw(parts(other));
    expect(bitsIn(other)).toBe(bitsIn(one));
  });
});

describe("promise calls and the event loop", () => {
  it("leave timers, files and sync calls alone, although more of them run than libuv has threads", async () => {
    const controller = new AbortController();
    let settled = 0;
    const running = Array.from({ length: 6 }, () =>
      promises.treeAttention(longCall(endless), controller).finally(() => settled++),
    );
    let ticks = 0;
    for (; ticks < 100; ticks++) await new Promise((next) => setImmediate(next));
    const source = await readFile(fileURLToPath(import.meta.url), "utf8");
    const sync = ops.logprobs(rows());
    const short = longCall(300);
    ops.treeAttention(short);
    expect({ ticks, settled, read: source.length > 0, sync: sync.logprobs.length }).toEqual({
      ticks: 100,
      settled: 0,
      read: true,
      sync: 3,
    });
    controller.abort();
    const outcomes = await Promise.allSettled(running);
    expect(outcomes.map(({ status }) => status)).toEqual(Array(6).fill("rejected"));
  });

  it("go on beside each other: a later short call settles while an earlier long one runs", async () => {
    const controller = new AbortController();
    const order: string[] = [];
    const long = promises.treeAttention(longCall(endless), controller).catch(() => order.push("long"));
    await promises.treeAttention(longCall(300)).then(() => order.push("short"));
    controller.abort();
    await long;
    expect(order).toEqual(["short", "long"]);
  });

  it("give each of many calls at once its own bits", async () => {
    const args = Array.from({ length: 40 }, (_, i) => ({ ...rows(), temperature: 0.5 + i / 8 }));
    const results = await Promise.all(args.map((each) => promises.logprobs(each)));
    results.forEach((result, i) => expect(bitsIn(result)).toBe(bitsIn(ops.logprobs(args[i]))));
    const { logprobs } = reference().logprobs(args[0]);
    expect(results[0].logprobs[1]).toBeCloseTo(logprobs[1], 5);
  });
});

describe("an AbortSignal", () => {
  it("stops a call that runs, with an AbortError; ordinary arrays stay as they were", async () => {
    const controller = new AbortController();
    const args = longCall(endless);
    const running = promises.treeAttention(args, controller);
    for (let tick = 0; tick < 20; tick++) await new Promise((next) => setImmediate(next));
    controller.abort();
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
    expect(args.out.every((x) => x === 0.5)).toBe(true);
    expect(args.lse.every((x) => x === 0)).toBe(true);
  });

  it("rejects with the reason that it was given", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const running = promises.treeAttention(longCall(endless), controller);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
  });

  it("stops one call of several, also one that waits for a thread; the others go on", async () => {
    const controllers = Array.from({ length: 7 }, () => new AbortController());
    const order: number[] = [];
    const running = controllers.map((controller, i) =>
      promises.treeAttention(longCall(endless), controller).catch(() => order.push(i)),
    );
    for (const i of [6, 2, 5]) {
      controllers[i].abort();
      await running[i];
    }
    expect(order).toEqual([6, 2, 5]);
    for (const controller of controllers) controller.abort();
    await Promise.all(running);
    expect(order).toHaveLength(7);
  });

  it("that is aborted already keeps a call from starting", async () => {
    const reads: string[] = [];
    const args = new Proxy(rows(), {
      get: (target, key) => (reads.push(String(key)), Reflect.get(target, key) as unknown),
    });
    await expect(promises.logprobs(args, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });
    expect(reads).toEqual([]);
  });

  it("may be aborted after the call has settled, and holds no listener by then", async () => {
    const controller = new AbortController();
    const running = promises.logprobs(rows(), controller);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(1);
    const { logprobs } = await running;
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    controller.abort();
    expect(bitsIn(logprobs)).toBe(bitsIn(ops.logprobs(rows()).logprobs));

    await expect(promises.logprobs({} as never, { signal: new AbortController().signal })).rejects.toThrow(TypeError);
    const aborted = new AbortController();
    const stopped = promises.treeAttention(longCall(endless), aborted);
    aborted.abort();
    await expect(stopped).rejects.toThrow();
    expect(getEventListeners(aborted.signal, "abort")).toHaveLength(0);
  });
});
