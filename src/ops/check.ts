/**
 * Argument checks of the ops: the only place that words their errors.
 *
 * `op: expected name [shape] to be …, received …` — TypeError for the kind of an argument, RangeError for its size or value.
 */

import { loadAddon } from "./addon.ts";
import { DeviceArray } from "./device-array.ts";
import type { Dtype, Floats, Values } from "./ops.ts";

function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (value instanceof DeviceArray) return `an array of ${value.length} ${value.dtype} on ${value.device}`;
  if (ArrayBuffer.isView(value) && "length" in value)
    return `a ${value.constructor.name} of length ${String(value.length)}`;
  if (Array.isArray(value)) return `an Array of length ${value.length}`;
  if (typeof value === "string") return `the string ${JSON.stringify(value)}`;
  if (typeof value === "object") return `an object of class ${value.constructor?.name ?? "null"}`;
  return `${typeof value} ${String(value)}`;
}

const article = (name: string): string => (name.startsWith("Int") ? `an ${name}` : `a ${name}`);

/** The numbers by which the kernels know the types of values. */
const dtypes = { f32: 0, bf16: 1, f16: 2 } satisfies Record<Dtype, number>;

/** Values as the kernels take them. */
export interface ValueFields {
  readonly dtype: number;
  readonly data: Float32Array | Uint16Array;
}

/** One op's checks: every method names the argument and its shape, and throws or returns what it was given. */
export class Check {
  readonly #op: string;

  constructor(op: string) {
    this.#op = op;
  }

  #typeError(name: string, expected: string, received: unknown): TypeError {
    return new TypeError(`${this.#op}: expected ${name} to be ${expected}, received ${describe(received)}`);
  }

  #rangeError(name: string, expected: string, received: unknown): RangeError {
    return new RangeError(`${this.#op}: expected ${name} to be ${expected}, received ${describe(received)}`);
  }

  /**
   * A Float32Array of exactly `length`; of any length where none is given. An array on a device passes for one: it has a length,
   * and the addon takes it where the op is the device's. Who reads elements asks for `hostFloats`.
   */
  floats(name: string, shape: string, value: Floats | undefined, length?: number): Float32Array {
    if (value instanceof DeviceArray)
      return this.#onDevice(name, shape, value, length, "f32") as unknown as Float32Array;
    return this.hostFloats(name, shape, value, length);
  }

  /** As `floats`, not on a device. */
  hostFloats(name: string, shape: string, value: Floats | undefined, length?: number): Float32Array {
    if (!(value instanceof Float32Array)) {
      const size = length === undefined ? "" : ` of length ${length}`;
      throw this.#typeError(`${name} ${shape}`, `a Float32Array${size}`, value);
    }
    this.#length(name, shape, value, length);
    return value;
  }

  #onDevice(name: string, shape: string, value: DeviceArray, length?: number, dtype?: Dtype): DeviceArray {
    if (value.disposed) throw new Error(`${this.#op}: ${name} ${shape} on ${value.device} has been disposed of`);
    if (dtype !== undefined && value.dtype !== dtype)
      this.fail(`${name} ${shape} on ${value.device} to be ${dtype}`, value.dtype);
    if (length !== undefined && value.length !== length) {
      this.fail(`${name} ${shape} on ${value.device} to have length ${length}`, String(value.length));
    }
    return value;
  }

  /** As `floats`; undefined stays undefined. */
  optionalFloats(name: string, shape: string, value: Floats | undefined, length: number): Float32Array | undefined {
    return value === undefined ? undefined : this.floats(name, shape, value, length);
  }

  /** The array, or a new one where it is absent. */
  output(name: string, shape: string, value: Floats | undefined, length: number): Float32Array {
    return value === undefined ? new Float32Array(length) : this.floats(name, shape, value, length);
  }

  /** As `output` where the value is an array or `true`; undefined where it is absent. */
  requested(name: string, shape: string, value: Floats | true | undefined, length: number): Float32Array | undefined {
    if (value === undefined) return undefined;
    return this.output(name, shape, value === true ? undefined : value, length);
  }

  /** A Float32Array, or an array of a stated type with its data; of exactly `length` elements where one is given. */
  values(name: string, shape: string, value: Values | undefined, length?: number): ValueFields {
    if (value instanceof DeviceArray) {
      const data = this.#onDevice(name, shape, value, length) as unknown as Float32Array;
      return { dtype: dtypes[value.dtype], data };
    }
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || !("dtype" in value)) {
      if (!(value instanceof Float32Array)) {
        throw this.#typeError(`${name} ${shape}`, "a Float32Array, or { dtype, data } of bf16, f16 or f32", value);
      }
      return { dtype: dtypes.f32, data: this.floats(name, shape, value, length) };
    }
    const { dtype, data } = value;
    if (!Object.hasOwn(dtypes, dtype)) {
      throw this.#rangeError(`${name} ${shape}: dtype`, `one of ${Object.keys(dtypes).join(", ")}`, dtype);
    }
    const Kind = dtype === "f32" ? Float32Array : Uint16Array;
    if (!(data instanceof Kind)) throw this.#typeError(`${name} ${shape}: data of ${dtype}`, `a ${Kind.name}`, data);
    if (length !== undefined && data.length !== length) {
      throw this.#rangeError(`${name} ${shape}: data`, `a ${Kind.name} of length ${length}`, data);
    }
    return { dtype: dtypes[dtype], data };
  }

  /** The values, or new ones where they are absent; of the same type as other values, and wrapped like them. */
  valuesLike(name: string, shape: string, value: Values | undefined, like: Values, length: number): Values {
    const dtype = "dtype" in like ? like.dtype : "f32";
    if (value === undefined) {
      const data = dtype === "f32" ? new Float32Array(length) : new Uint16Array(length);
      return "dtype" in like ? { dtype, data } : (data as Float32Array);
    }
    const { dtype: given } = this.values(name, shape, value, length);
    if (given !== dtypes[dtype]) {
      this.fail(`${name} ${shape} to be ${dtype}, as what it is the gradient of`, Object.keys(dtypes)[given]);
    }
    return value;
  }

  /** An array of exactly `length` bytes; undefined stays undefined. */
  optionalBytes(name: string, shape: string, value: Uint8Array | undefined, length: number): Uint8Array | undefined {
    if (value === undefined) return undefined;
    if (!(value instanceof Uint8Array)) {
      throw this.#typeError(`${name} ${shape}`, `a Uint8Array of length ${length}`, value);
    }
    if (value.length !== length) throw this.#rangeError(`${name} ${shape}`, `a Uint8Array of length ${length}`, value);
    return value;
  }

  /**
   * As `floats`, of an Int32Array that is read. One in shared memory is copied, since kernels take what was checked as indices,
   * and another thread may write to it at any time.
   */
  ints(name: string, shape: string, value: Int32Array | undefined, length?: number): Int32Array {
    const ints = this.intOutput(name, shape, value, length);
    return ints.buffer instanceof SharedArrayBuffer ? new Int32Array(ints) : ints;
  }

  /** As `floats`, of an Int32Array that is written. */
  intOutput(name: string, shape: string, value: Int32Array | undefined, length?: number): Int32Array {
    if (!(value instanceof Int32Array)) {
      const size = length === undefined ? "" : ` of length ${length}`;
      throw this.#typeError(`${name} ${shape}`, `an Int32Array${size}`, value);
    }
    this.#length(name, shape, value, length);
    return value;
  }

  #length(name: string, shape: string, value: Float32Array | Int32Array, length: number | undefined): void {
    if (length !== undefined && value.length !== length) {
      const kind = article(value.constructor.name);
      throw this.#rangeError(`${name} ${shape}`, `${kind} of length ${length}`, value);
    }
  }

  /** How many rows of `width` an array holds. */
  rows(name: string, shape: string, length: number, width: number): number {
    if (width < 1 || length % width !== 0) {
      throw new RangeError(
        `${this.#op}: expected the length of ${name} ${shape} to be a multiple of ${width}, received ${length}`,
      );
    }
    return length / width;
  }

  /** A finite number within bounds, `Infinity` too where `unbounded`. */
  number(name: string, value: unknown, expected: string, accept: (value: number) => boolean): number {
    if (typeof value !== "number") throw this.#typeError(name, expected, value);
    if (!accept(value)) throw this.#rangeError(name, expected, value);
    return value;
  }

  positive(name: string, value: unknown): number {
    return this.number(name, value, "a positive number", (x) => x > 0 && Number.isFinite(x));
  }

  notNegative(name: string, value: unknown): number {
    return this.number(name, value, "a number ≥ 0", (x) => x >= 0);
  }

  integer(name: string, value: unknown, least: number, most: number = Number.MAX_SAFE_INTEGER): number {
    const bounds = most === Number.MAX_SAFE_INTEGER ? `an integer ≥ ${least}` : `an integer in ${least} … ${most}`;
    return this.number(name, value, bounds, (x) => Number.isInteger(x) && x >= least && x <= most);
  }

  /** Every element in 0 … count − 1, or equal to `except`. */
  indices(name: string, shape: string, values: Int32Array, count: number, except?: number): void {
    if (except === undefined) {
      this.range(name, shape, values, 0, count - 1);
      return;
    }
    const wrong = values.findIndex((value) => (value < 0 || value >= count) && value !== except);
    if (wrong >= 0) {
      this.fail(`${name} ${shape} in 0 … ${count - 1} or ${except}`, `${values[wrong]} at index ${wrong}`);
    }
  }

  /** Every element in `least … most`; the bounds are i32. */
  range(name: string, shape: string, values: Int32Array, least: number, most: number): void {
    const i = loadAddon().firstOutside(values, least, most);
    if (i >= 0) {
      throw new RangeError(
        `${this.#op}: expected ${name} ${shape} in ${least} … ${most}, received ${values[i]} at index ${i}`,
      );
    }
  }

  /** Offsets `[count + 1]`: they begin at 0, never fall, and end at `end`. */
  offsets(name: string, shape: string, values: Int32Array | undefined, end: number): Int32Array {
    const offsets = this.ints(name, shape, values);
    if (offsets.length === 0 || offsets[0] !== 0) {
      throw new RangeError(
        `${this.#op}: expected ${name} ${shape} to begin with 0, received ${offsets[0] ?? "no element"}`,
      );
    }
    this.#neverFalling(name, shape, offsets);
    const last = offsets[offsets.length - 1];
    if (last !== end) {
      throw new RangeError(`${this.#op}: expected ${name} ${shape} to end with ${end}, received ${last}`);
    }
    return offsets;
  }

  /** Offsets `[count + 1]` that begin and end anywhere in 0 … `end`: they never fall, so no two spans overlap. */
  spans(name: string, shape: string, values: Int32Array | undefined, end: number): Int32Array {
    const offsets = this.ints(name, shape, values);
    if (offsets.length === 0) {
      throw new RangeError(`${this.#op}: expected ${name} ${shape} to have an element, received none`);
    }
    this.range(name, shape, offsets, 0, end);
    this.#neverFalling(name, shape, offsets);
    return offsets;
  }

  #neverFalling(name: string, shape: string, offsets: Int32Array): void {
    for (let i = 1; i < offsets.length; i++) {
      if (offsets[i] < offsets[i - 1]) {
        throw new RangeError(
          `${this.#op}: expected ${name} ${shape} not to fall, received ${offsets[i - 1]} and ${offsets[i]} at index ${i - 1} and ${i}`,
        );
      }
    }
  }

  /** An argument of a wrong kind. */
  kind(name: string, expected: string, received: unknown): never {
    throw this.#typeError(name, expected, received);
  }

  fail(expected: string, received: string): never {
    throw new RangeError(`${this.#op}: expected ${expected}, received ${received}`);
  }
}
