/**
 * Arrays in the memory of a device, where they stay from call to call. The ops of that device take them in place of arrays of
 * floats and of typed values; nothing of them is copied.
 */

import type { NativeDeviceMemory } from "./addon.ts";
import type { Dtype, Floats, Typed } from "./arguments/values.ts";
import { Check } from "./check.ts";
import { DeviceArray } from "./device-array.ts";
import { bitsOf, floatsOf } from "./halves.ts";

const bytesPerElement = { f32: 4, bf16: 2, f16: 2 } satisfies Record<Dtype, number>;
const codes = { f32: 0, bf16: 1, f16: 2 } satisfies Record<Dtype, number>;

/** Where a tensor lies. */
interface Place {
  readonly device: string;
  readonly memory: NativeDeviceMemory;
}

/** Numbers of one type in the memory of a device, row-major, zeroed, aligned to 256 bytes; made by the `memory` of its ops. */
export class DeviceTensor extends DeviceArray {
  readonly device: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly length: number;
  readonly #memory: NativeDeviceMemory;
  /** whose memory it is, where it is a part of another */
  readonly #owner: DeviceTensor | undefined;
  #disposed = false;

  /** @param part of which tensor, from which element; a tensor of its own where there is none */
  private constructor(
    { device, memory }: Place,
    shape: readonly number[],
    dtype: Dtype,
    part?: { readonly of: DeviceTensor; readonly begin: number },
  ) {
    super();
    const check = new Check("DeviceTensor");
    if (!Object.hasOwn(bytesPerElement, dtype)) check.fail("dtype to be f32, bf16 or f16", dtype);
    if (!Array.isArray(shape))
      throw new TypeError(`DeviceTensor: expected shape to be an Array, received ${typeof shape}`);
    this.device = device;
    this.dtype = dtype;
    this.shape = Object.freeze(shape.map((size, axis) => check.integer(`shape[${axis}]`, size, 0)));
    this.length = this.shape.reduce((product, size) => product * size, 1);
    this.#memory = memory;
    if (part !== undefined) {
      this.#owner = part.of.#owner ?? part.of;
      memory.view(this, part.of, part.begin, this.length);
      return;
    }
    const bytes = this.length * bytesPerElement[dtype];
    if (!Number.isSafeInteger(bytes)) check.fail("a shape that fits into memory", `[${this.shape.join(", ")}]`);
    try {
      memory.allocate(this, bytes, codes[dtype], this.length);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      check.fail(`a shape that fits into the memory of ${device}`, `[${this.shape.join(", ")}], ${error.message}`);
    }
  }

  /** Of a device's `memory`; not for others. */
  static allocate(place: Place, shape: readonly number[], dtype: Dtype = "f32"): DeviceTensor {
    return new DeviceTensor(place, shape, dtype);
  }

  /** Of a device's `memory`; not for others. */
  static from(
    place: Place,
    numbers: Floats | Typed | readonly number[],
    shape?: readonly number[],
    dtype?: Dtype,
  ): DeviceTensor {
    const typed = "dtype" in numbers ? numbers : undefined;
    const count = typed === undefined ? (numbers as ArrayLike<number>).length : typed.data.length;
    const tensor = new DeviceTensor(place, shape ?? [count], dtype ?? typed?.dtype ?? "f32");
    try {
      tensor.upload(numbers);
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return tensor;
  }

  get disposed(): boolean {
    return this.#owner === undefined ? this.#disposed : this.#owner.disposed;
  }

  /** Writes numbers of the host into it, to the nearest of its type; as many as it holds. */
  upload(numbers: Floats | Typed | readonly number[]): void {
    this.#check("upload");
    const typed = "dtype" in numbers ? numbers : undefined;
    const count = typed === undefined ? (numbers as ArrayLike<number>).length : typed.data.length;
    if (count !== this.length) {
      new Check("DeviceTensor.upload").fail(`${this.length} numbers for [${this.shape.join(", ")}]`, String(count));
    }
    const asIs =
      typed === undefined ? numbers instanceof Float32Array && this.dtype === "f32" : typed.dtype === this.dtype;
    this.#memory.upload(this, asIs ? (typed?.data ?? (numbers as Float32Array)) : elementsOf(this.dtype, numbers));
  }

  /**
   * Waits for the calls before, and gives the numbers, or the bits of a half type. Throws what failed on the device since it was
   * last waited for.
   */
  download(): Float32Array | Uint16Array {
    this.#check("download");
    const array = this.dtype === "f32" ? new Float32Array(this.length) : new Uint16Array(this.length);
    this.#memory.download(this, array);
    return array;
  }

  /** Takes over the numbers of another tensor of the same device, type and length, with which it shares no memory. */
  copyFrom(other: DeviceTensor): void {
    this.#check("copyFrom");
    if (other.length !== this.length || other.dtype !== this.dtype) {
      const [wanted, received] = [this, other].map(({ length, dtype }) => `a tensor of ${length} ${dtype}`);
      new Check("DeviceTensor.copyFrom").fail(wanted, received);
    }
    this.#memory.copy(this, other);
  }

  /** Makes all of it zero. */
  clear(): void {
    this.#check("clear");
    this.#memory.clear(this);
  }

  /** Elements `begin` … `end` − 1 of the same memory. They are gone when the tensor is disposed of. */
  subarray(begin: number, end: number = this.length): DeviceTensor {
    this.#check("subarray");
    const check = new Check("DeviceTensor.subarray");
    check.integer("begin", begin, 0, this.length);
    check.integer("end", end, begin, this.length);
    return new DeviceTensor({ device: this.device, memory: this.#memory }, [end - begin], this.dtype, {
      of: this,
      begin,
    });
  }

  /**
   * Gives the memory back, once for it and its parts; running promise calls keep it until they have ended. What is forgotten
   * instead is given back by the garbage collector. Of a part it does nothing. May be called more than once.
   */
  dispose(): void {
    if (this.#owner !== undefined || this.#disposed) return;
    this.#disposed = true;
    this.#memory.dispose(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(method: string): void {
    if (this.disposed) {
      throw new Error(`DeviceTensor.${method}: [${this.shape.join(", ")}] of ${this.device} has been disposed of`);
    }
  }
}

function elementsOf(dtype: Dtype, numbers: Floats | Typed | readonly number[]): Float32Array | Uint16Array {
  const floats = Array.isArray(numbers) ? Float64Array.from(numbers) : floatsOf(numbers as Floats | Typed);
  return dtype === "f32" ? Float32Array.from(floats) : bitsOf(dtype, floats);
}
