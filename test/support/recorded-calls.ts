import type { Ops } from "../../src/ops/ops.ts";

/** A call of an op: its argument before and after, and what it returned, as copies. */
export interface RecordedCall {
  readonly path: readonly string[];
  readonly before: object;
  readonly after: object;
  readonly result: unknown;
}

/** The same ops, writing down every call. */
export function recording(ops: Ops): { readonly ops: Ops; readonly calls: readonly RecordedCall[] } {
  const calls: RecordedCall[] = [];
  const wrap = (path: readonly string[], value: unknown): unknown => {
    if (typeof value === "object" && value !== null) return wrapAll(path, value);
    if (typeof value !== "function" || path[0] === "allocate") return value;
    return (args: object) => {
      const before = withArrays(args, (array) => array.slice());
      const result = (value as (args: object) => unknown)(args);
      calls.push({ path, before, after: withArrays(args, (array) => array.slice()), result: structuredClone(result) });
      return result;
    };
  };
  const wrapAll = (path: readonly string[], group: object): object =>
    Object.fromEntries(Object.entries(group).map(([name, value]) => [name, wrap([...path, name], value)]));
  return { ops: wrapAll([], ops) as Ops, calls };
}

/** Every op's path in an object of ops, its promise forms left out. */
export function pathsOf(ops: object): string[] {
  return Object.entries(ops).flatMap(([name, value]: [string, unknown]) => {
    if (name === "name" || name === "allocate" || name === "promises") return [];
    return typeof value === "function" ? [name] : pathsOf(value as object).map((inner) => `${name}.${inner}`);
  });
}

/** The op at a path. */
export function opAt(ops: object, path: readonly string[]): (args: object, options?: object) => unknown {
  return path.reduce<unknown>((group, name) => (group as Readonly<Record<string, unknown>>)[name], ops) as never;
}

type AnyArray = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array;

/** A copy of an argument object with other arrays, those of its options and typed numbers too; one array stays one. */
export function withArrays<A extends object>(args: A, replace: (array: AnyArray) => AnyArray): A {
  const replaced = new Map<unknown, AnyArray>();
  const copy = (value: unknown): unknown => {
    if (ArrayBuffer.isView(value)) {
      const array = replaced.get(value) ?? replace(value as AnyArray);
      replaced.set(value, array);
      return array;
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]: [string, unknown]) => [key, copy(inner)]));
  };
  return copy(args) as A;
}

/** Everything in a value as text, arrays by their bytes: equal bits give equal text. */
export function bitsIn(value: unknown): string {
  if (ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  }
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : String(value);
  return Object.entries(value)
    .map(([key, inner]: [string, unknown]) => `${key}: ${bitsIn(inner)}`)
    .join("\n");
}
