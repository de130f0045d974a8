import { setImmediate as turn } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { openOps, Tensor, tensorBytes, tensorScope } from "../../src/ops/index.ts";
import { loadAddon } from "../../src/ops/addon.ts";
import { runChild } from "../support/child.ts";
import { install, type Installed } from "../support/installed.ts";
import { endless, longCall } from "../support/long-call.ts";
import { bitsIn } from "../support/recorded-calls.ts";

const ops = openOps("cpu");

// What a test has left over is not to be collected, and counted, in another.
const made: Tensor[] = [];
afterEach(() => {
  for (const tensor of made.splice(0)) tensor.dispose();
});
const allocate: typeof Tensor.allocate = (...args) => made[made.push(Tensor.allocate(...args)) - 1];
const from: typeof Tensor.from = (...args) => made[made.push(Tensor.from(...args)) - 1];

describe("a tensor", () => {
  it("holds zeros of its shape and type", () => {
    const tensor = allocate([2, 3, 4]);
    expect(tensor).toMatchObject({ shape: [2, 3, 4], dtype: "f32", length: 24, disposed: false });
    expect(tensor.data).toEqual(new Float32Array(24));
    expect(allocate([3], "bf16").data).toEqual(new Uint16Array(3));
    expect(allocate([], "f16").data).toEqual(new Uint16Array(1));
    expect(allocate([3, 0]).data).toEqual(new Float32Array(0));
  });

  it("copies numbers, to the nearest of its type", () => {
    expect(from([1, 2, 3, 4], [2, 2])).toMatchObject({ shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) });
    expect(from(Float64Array.of(0.1)).data[0]).toBe(Math.fround(0.1));
    // 1 + 2⁻⁸ lies halfway between two bf16 numbers, the even one of which is 1 = 0x3f80; f16 has it: 0x3c04.
    expect(from([1 + 2 ** -8, -2], undefined, "bf16").data).toEqual(Uint16Array.of(0x3f80, 0xc000));
    expect(from([1 + 2 ** -8], undefined, "f16").data).toEqual(Uint16Array.of(0x3c04));
    const half = from([1, 2], undefined, "bf16");
    expect(from(half)).toMatchObject({ dtype: "bf16", data: half.data });
    expect(from(half, [2], "f32").data).toEqual(Float32Array.of(1, 2));
  });

  it("refuses shapes and types that are none", () => {
    expect(() => allocate([2, -1])).toThrow("Tensor: expected shape[1] to be an integer ≥ 0, received number -1");
    expect(() => allocate([0.5])).toThrow(RangeError);
    expect(() => allocate(3 as never)).toThrow(TypeError);
    expect(() => allocate([1], "f64" as never)).toThrow("Tensor: expected dtype to be f32, bf16 or f16, received f64");
    expect(() => allocate([2 ** 40, 2 ** 40])).toThrow(RangeError);
    expect(() => allocate([2 ** 40, 2 ** 40])).toThrow(
      "Tensor: expected a shape that fits into memory, received [1099",
    );
    const before = tensorBytes();
    expect(() => from([1, 2, 3], [2])).toThrow("Tensor: expected a shape of 3 numbers, received [2]");
    expect(tensorBytes()).toBe(before);
  });

  it("lies in memory that is counted, and told to the engine, until it is disposed of", () => {
    const [bytes, external] = [tensorBytes(), process.memoryUsage().external];
    const tensor = allocate([1 << 20]);
    const view = tensor.data.subarray(5);
    expect(tensorBytes() - bytes).toBe(4 << 20);
    expect(process.memoryUsage().external - external).toBeGreaterThanOrEqual(4 << 20);
    tensor.dispose();
    expect(tensorBytes()).toBe(bytes);
    expect(process.memoryUsage().external - external).toBeLessThan(4 << 20);
    expect(tensor.disposed).toBe(true);
    expect(view.length).toBe(0);
    expect(() => tensor.data).toThrow("Tensor: [1048576] has been disposed of");
    tensor.dispose();
    expect(tensorBytes()).toBe(bytes);
  });

  it("is disposed of by `using`", () => {
    const tensor = allocate([4]);
    tensor[Symbol.dispose]();
    expect(tensor.disposed).toBe(true);
  });

  it("is no argument any more once it is disposed of", async () => {
    const tensor = from([0, 1]);
    const data = tensor.data as Float32Array;
    const args = { logits: data, targetOffsets: Int32Array.of(0, 1), targets: Int32Array.of(0) };
    expect(ops.logprobs(args).logprobs).toHaveLength(1);
    tensor.dispose();
    expect(() => ops.logprobs(args)).toThrow(RangeError);
    await expect(ops.promises.logprobs(args)).rejects.toThrow(RangeError);
  });

  it.each(["f32", "bf16", "f16"] as const)("of %s is an argument itself, as input and as output", async (dtype) => {
    const rows = { targetOffsets: Int32Array.of(0, 1), targets: Int32Array.of(2) };
    const logits = from([0, 1, 2, 3], [1, 4], dtype);
    const dlogits = allocate([1, 4], dtype);
    const { lse, logprobs } = await ops.promises.logprobs({ ...rows, logits });
    expect(bitsIn(logprobs)).toBe(bitsIn(ops.logprobs({ ...rows, logits }).logprobs));
    const args = { ...rows, logits, lse, logprobs, dlogprobs: Float32Array.of(1), dlogits };
    expect(await ops.promises.logprobsBackward(args)).toBe(dlogits);
    const later = dlogits.data.slice();
    expect(later.some((x) => x !== 0)).toBe(true);
    dlogits.data.fill(0);
    expect(ops.logprobsBackward(args)).toBe(dlogits);
    expect(dlogits.data).toEqual(later);
  });

  it("keeps its memory under a running call, although it was disposed of", async () => {
    const bytes = tensorBytes();
    const args = longCall(2000);
    const expected = longCall(2000);
    ops.treeAttention(expected);
    const q = from(args.q);
    const running = ops.promises.treeAttention({ ...args, q: q.data as Float32Array });
    q.dispose();
    expect(tensorBytes() - bytes).toBe(4 * q.length);
    await running;
    expect(tensorBytes()).toBe(bytes);
    expect(bitsIn(args.out)).toBe(bitsIn(expected.out));
  });

  it("that was disposed of under a call that writes to it rejects the call", async () => {
    const args = longCall(2000);
    const out = allocate([args.out.length]);
    const running = ops.promises.treeAttention({ ...args, out: out.data as Float32Array });
    out.dispose();
    await expect(running).rejects.toThrow(
      "treeAttention: expected out to have 64000 elements until the call has ended",
    );
  });

  it("is written in place by promise calls, not copied", async () => {
    const controller = new AbortController();
    const args = longCall(endless);
    const lse = allocate([args.lse.length]);
    const running = ops.promises.treeAttention({ ...args, lse: lse.data as Float32Array }, controller);
    running.catch(() => undefined);
    while (lse.data.every((x) => x === 0)) await turn();
    controller.abort();
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("a scope", () => {
  it("disposes of its tensors when it ends, however it does", async () => {
    const bytes = tensorBytes();
    tensorScope((scope) => void made.push(scope.allocate([4]), scope.from([1, 2]), scope.add(Tensor.allocate([3]))));
    expect(() =>
      tensorScope((scope) => {
        made.push(scope.allocate([4]));
        throw new Error("wrong");
      }),
    ).toThrow("wrong");
    const running = tensorScope(async (scope) => {
      const tensor = scope.allocate([4]);
      made.push(tensor);
      await turn();
      return tensor.disposed;
    });
    expect(await running).toBe(false);
    const failing = tensorScope(async (scope) => {
      made.push(scope.allocate([4]));
      await turn();
      throw new Error("wrong later");
    });
    await expect(failing).rejects.toThrow("wrong later");
    expect(made.map(({ disposed }) => disposed)).toEqual(Array(6).fill(true));
    expect(tensorBytes()).toBe(bytes);
  });

  it("leaves what is returned or kept", async () => {
    let kept: Tensor | undefined;
    const pair = tensorScope((scope) => {
      kept = scope.keep(scope.allocate([1]));
      scope.allocate([2]);
      return { one: scope.allocate([3]), list: [scope.allocate([4])] };
    });
    const later = await tensorScope(async (scope) => (await turn(), scope.allocate([5])));
    const alive = [kept!, pair.one, pair.list[0], later];
    expect(alive.map(({ disposed }) => disposed)).toEqual([false, false, false, false]);
    const outer = tensorScope((scope) => tensorScope((inner) => scope.add(inner.allocate([6]))));
    expect(outer.disposed).toBe(false);
    for (const tensor of [...alive, outer]) tensor.dispose();
  });
});

describe("where the engine allows no buffers on foreign memory", () => {
  it("a tensor lies in the engine's memory and does the same", async () => {
    const bytes = tensorBytes();
    const refusing = vi.spyOn(loadAddon(), "allocate").mockReturnValue(null);
    const tensor = Tensor.from([0, 1, 2, 3]);
    refusing.mockRestore();
    expect(tensorBytes()).toBe(bytes);
    const data = tensor.data as Float32Array;
    const { lse } = await ops.promises.logprobs({
      logits: data,
      targetOffsets: Int32Array.of(0, 1),
      targets: Int32Array.of(0),
    });
    expect(lse[0]).toBeCloseTo(Math.log(1 + Math.E + Math.E ** 2 + Math.E ** 3), 5);
    tensor.dispose();
    expect(data.length).toBe(0);
  });
});

describe("a forgotten tensor", () => {
  let installed: Installed;
  beforeAll(() => {
    installed = install();
    installed.linkAddon();
  });
  afterAll(() => installed.remove());

  it("is collected with its last view, and keeps its memory under a running call", () => {
    const { status, stdout, stderr } = runChild(
      installed,
      `
      const collect = async () => {
        for (let i = 0; i < 5; i++) {
          globalThis.gc();
          await new Promise((next) => setTimeout(next, 20));
        }
      };
      let view = (() => Tensor.allocate([1000]).data.subarray(10))();
      await collect();
      console.log(tensorBytes());
      view = undefined;
      await collect();
      console.log(tensorBytes());
      const controller = new AbortController();
      const running = (() => ops.promises.treeAttention(long(endless, (length) => Tensor.allocate([length]).data), controller))();
      await collect();
      console.log(tensorBytes());
      controller.abort();
      await running.catch((error) => console.log(error.name));
      await collect();
      console.log(tensorBytes());
    `,
    );
    const bytes = 4 * (4 * 32 + 4) * endless;
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: ["4000", "0", String(bytes), "AbortError", "0", ""].join("\n"),
      stderr: "",
    });
  });
});
