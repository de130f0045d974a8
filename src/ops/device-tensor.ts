/**
 * Arrays in the memory of a device, where they stay from call to call. The ops of that device take them in place of arrays of
 * floats and of typed values; nothing of them is copied.
 */

import type { NativeDeviceMemory } from "./addon.ts";
import type { Dtype, Floats, Typed } from "./arguments/values.ts";
import { Check } from "./check.ts";
import { DeviceArray } from "./device-array.ts";
import { bitsOf, floatsOf } from "./halves.ts";
import {
  checkLoan,
  checkShared,
  dlpackTypes,
  order,
  stridesOf,
  type ExportedMemory,
  type LentMemory,
  type OwnSharedMemory,
  type SharedMemory,
} from "./interop.ts";

const bytesPerElement = { f32: 4, bf16: 2, f16: 2 } satisfies Record<Dtype, number>;
const codes = { f32: 0, bf16: 1, f16: 2 } satisfies Record<Dtype, number>;

/** Where a tensor lies. */
interface Place {
  readonly device: string;
  readonly memory: NativeDeviceMemory;
}

/** Memory that a tensor stands for instead of memory of its own. */
interface Found {
  /** whose memory it is, where it is a part of another */
  readonly of?: DeviceTensor;
  /** makes the tensor stand for it */
  take(tensor: DeviceTensor): void;
}

/**
 * Numbers of one type in the memory of a device, row-major; made by the `memory` of its ops. What that allocates is zeroed and
 * aligned to 256 bytes.
 */
export class DeviceTensor extends DeviceArray {
  readonly device: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly length: number;
  readonly #memory: NativeDeviceMemory;
  /** whose memory it is, where it is a part of another */
  readonly #owner: DeviceTensor | undefined;
  #disposed = false;

  private constructor({ device, memory }: Place, shape: readonly number[], dtype: Dtype, found?: Found) {
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
    if (found !== undefined) {
      this.#owner = found.of === undefined ? undefined : (found.of.#owner ?? found.of);
      found.take(this);
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

  /** Of a device's `memory`; not for others. */
  static import(place: Place, lent: LentMemory): DeviceTensor {
    const { pointer, shape, dtype, stream, release } = checkLoan(place.device, lent);
    let back: Promise<void> | undefined;
    const tensor = new DeviceTensor(place, shape, dtype, {
      take(target) {
        const bytes = target.length * bytesPerElement[dtype];
        try {
          back = place.memory.borrow(target, pointer, bytes, codes[dtype], target.length);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
          const wanted = `pointer to begin ${bytes} bytes in the memory of ${place.device}`;
          new Check("memory.import").fail(wanted, `0x${pointer.toString(16)}, ${error.message}`);
        }
      },
    });
    try {
      if (stream !== undefined) order("memory.import", place, "follow", stream);
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    // Not to be referred to from `tensor`: as long as the memory is lent, the promise refers to `release`.
    if (release !== undefined) void back?.then(release);
    return tensor;
  }

  /** Of a device's `memory`; not for others. */
  static open(place: Place, shared: SharedMemory): DeviceTensor {
    const { handle, byteOffset, shape, dtype } = checkShared(shared);
    return new DeviceTensor(place, shape, dtype, {
      take(target) {
        try {
          place.memory.open(target, handle, byteOffset, codes[dtype], target.length);
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          throw new Error(`memory.open: [${shape.join(", ")}] cannot be opened on ${place.device}: ${reason}`, {
            cause: error,
          });
        }
      },
    });
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

  /**
   * Takes over the numbers of another tensor of the same device and length, with which it shares no memory, to the nearest of its
   * own type.
   */
  copyFrom(other: DeviceTensor): void {
    this.#check("copyFrom");
    if (other.length !== this.length) {
      const [wanted, received] = [this, other].map(({ length }) => `a tensor of ${length} numbers`);
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
    const memory = this.#memory;
    return new DeviceTensor({ device: this.device, memory }, [end - begin], this.dtype, {
      of: this,
      take: (part) => memory.view(part, this, begin, end - begin),
    });
  }

  /**
   * Where it is, for another library of the process. The memory stays until the description is released, even where the tensor is
   * disposed of first. The other waits for the description's stream before it reads, or is made to by `memory.precede`.
   */
  export(): ExportedMemory {
    this.#check("export");
    const stream = this.#memory.stream();
    const { pointer, byteOffset } = this.#memory.hold(this);
    return {
      pointer,
      byteOffset,
      shape: this.shape,
      strides: stridesOf(this.shape),
      dtype: dlpackTypes[this.dtype],
      device: { type: "cuda", index: Number(this.device.split("/")[1]) },
      stream,
      release: this.#letGo(),
    };
  }

  /**
   * Waits for the calls before, and gives the memory to another process, which calls `memory.open`. The memory stays until the
   * description is released, which is to be done when the other process has disposed of its tensor. What either does with the
   * memory from then on is ordered by events (`memory.event`), or by waiting (`memory.wait`, or the end of a promise call) before
   * the other is told to go on. Memory that was imported or opened cannot be shared.
   */
  share(): OwnSharedMemory {
    this.#check("share");
    const { shape, dtype } = this;
    const place = this.#shared();
    return { ...place, shape, dtype, release: this.#letGo() };
  }

  #shared(): { readonly handle: Uint8Array; readonly byteOffset: number } {
    try {
      return this.#memory.share(this);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`DeviceTensor.share: [${this.shape.join(", ")}] of ${this.device} cannot be shared: ${reason}`, {
        cause: error,
      });
    }
  }

  /** Ends a use of the memory, once. */
  #letGo(): () => void {
    let held = true;
    return () => {
      if (held) this.#memory.letGo(this);
      held = false;
    };
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
