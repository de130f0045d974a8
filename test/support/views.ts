import type { Ops, Typed } from "../../src/ops/ops.ts";

type Numbers = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array;

const margin = 17; // odd: no vector of a view is aligned

/**
 * The same ops, called with every array as a view into the middle of a larger buffer of NaN (−1234567 for integers), at an odd
 * multiple of its element size. Two arguments that are one array stay one. Throws if a byte around a view was written.
 */
export function throughViews(ops: Ops): Ops {
  const wrap = (call: (args: never) => unknown) => (args: Readonly<Record<string, unknown>>) => {
    const views = new Map<Numbers, View>();
    const viewOf = (array: Numbers) => {
      const view = views.get(array) ?? embed(array);
      views.set(array, view);
      return view.inside;
    };
    const viewed = Object.fromEntries(
      Object.entries(args).map(([key, value]) => [
        key,
        isNumbers(value) ? viewOf(value) : isTyped(value) ? { ...value, data: viewOf(value.data) } : value,
      ]),
    );
    const result = call(viewed as never);
    for (const [array, view] of views) {
      array.set(view.inside);
      if (!view.intact()) throw new Error(`${ops.name} wrote outside of an array of length ${array.length}`);
    }
    return result;
  };
  const wrapAll = (methods: object): object =>
    Object.fromEntries(
      Object.entries(methods).map(([key, value]) => [
        key,
        typeof value === "function"
          ? wrap(value as (args: never) => unknown)
          : typeof value === "object"
            ? wrapAll(value as object)
            : value,
      ]),
    );
  return wrapAll(ops) as Ops;
}

interface View {
  readonly inside: Numbers;
  intact(): boolean;
}

function embed(array: Numbers): View {
  const Kind = array.constructor as Float32ArrayConstructor;
  const whole = new Kind(array.length + 2 * margin).fill(
    array instanceof Int32Array ? -1234567 : array instanceof Uint16Array ? 0x7fff : NaN,
  );
  const before = whole.slice();
  const inside = whole.subarray(margin, margin + array.length);
  inside.set(array);
  return {
    inside,
    intact: () => whole.every((x, i) => (i >= margin && i < margin + array.length) || Object.is(x, before[i])),
  };
}

function isNumbers(value: unknown): value is Numbers {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function isTyped(value: unknown): value is Typed {
  return typeof value === "object" && value !== null && "dtype" in value;
}
