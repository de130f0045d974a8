/** What users of such libraries were bitten by, guarantee 5: arrays that are views into larger ones. */
import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import { cases } from "../support/cases.ts";
import { float32 } from "../support/cases/op-case.ts";
import { bitsIn, opAt, pathsOf, recording, withArrays } from "../support/recorded-calls.ts";

const ops = openOps("cpu", { blas: false });

/** Elements before a view in its buffer; none of them a multiple of a vector's length, so that no vector is aligned. */
const offsets = [1, 3, 7, 13];

/** A view into the middle of a buffer of bytes 0xff: NaN, or −1. */
function embedded<A extends { readonly length: number }>(array: A, offset: number): A {
  const Kind = array.constructor as Float32ArrayConstructor;
  const bytes = new Uint8Array((array.length + 2 * offset) * Kind.BYTES_PER_ELEMENT).fill(0xff);
  const view = new Kind(bytes.buffer).subarray(offset, offset + array.length);
  view.set(array);
  return view as never;
}

/** Whether the bytes around a view are those of its making. */
function untouchedAround(view: ArrayBufferView): boolean {
  const bytes = new Uint8Array(view.buffer);
  const end = view.byteOffset + view.byteLength;
  return bytes.every((byte, i) => byte === 0xff || (i >= view.byteOffset && i < end));
}

const recorded = recording(ops);
for (const { run } of cases) run(recorded.ops, float32);

describe("guarantee 5: a subarray view and an odd byteOffset give identical bits", () => {
  it("is shown of every op that takes arrays", () => {
    expect([...new Set(recorded.calls.map(({ path }) => path.join(".")))].sort()).toEqual(pathsOf(ops).sort());
  });

  it.each(["sync", "promise"] as const)("in %s calls, of every array at once", async (form) => {
    const called = form === "sync" ? ops : ops.promises;
    for (const [i, { path, before, after, result }] of recorded.calls.entries()) {
      const views: ArrayBufferView[] = [];
      const args = withArrays(before, (array) => {
        const view = embedded(array, offsets[i % offsets.length]);
        views.push(view);
        return view;
      });
      const got = await opAt(called, path)(args);
      const what = `${path.join(".")}, call ${i}`;
      expect(bitsIn(got), what).toBe(bitsIn(result));
      expect(bitsIn(args), what).toBe(bitsIn(after));
      expect(views.every(untouchedAround), `${what} wrote around a view`).toBe(true);
    }
  });

  it("holds for an upstream gradient that is one column of a larger array: a view with strides is no argument", () => {
    const rows = {
      logits: Float32Array.of(1, 2, 3, 4),
      targetOffsets: Int32Array.of(0, 1, 2),
      targets: Int32Array.of(0, 1),
      lse: Float32Array.of(2.3132617, 4.3132617),
    };
    const upstream = Float32Array.of(9, 0.5, -2, 9);
    const whole = ops.logprobsBackward({ ...rows, dlogprobs: Float32Array.of(0.5, -2) });
    expect(bitsIn(ops.logprobsBackward({ ...rows, dlogprobs: upstream.subarray(1, 3) }))).toBe(bitsIn(whole));
    const strided = { buffer: upstream.buffer, byteOffset: 4, length: 2, stride: 2 };
    for (const dlogprobs of [strided, upstream] as never[]) {
      expect(() => ops.logprobsBackward({ ...rows, dlogprobs })).toThrow("logprobsBackward: expected dlogprobs [N]");
    }
  });
});
