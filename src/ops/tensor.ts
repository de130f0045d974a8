/**
 * Arrays on memory of the library's own. The ops read and write them in place in their promise forms too, where ordinary arrays
 * are copied, and their memory is freed when they are disposed of rather than some time after they were forgotten.
 */

import { constants } from "node:buffer";

import { loadAddon, type NativeMemory } from "./addon.ts";
import type { Dtype, Floats, Typed } from "./arguments/values.ts";
import { Check } from "./check.ts";
import { bitsOf, floatsOf } from "./halves.ts";

const bytesPerElement = { f32: 4, bf16: 2, f16: 2 } satisfies Record<Dtype, number>;

/** Numbers of one type in memory that the library owns: zeroed, aligned to 64 bytes, row-major. */
export class Tensor implements Typed {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** how many numbers it holds */
  readonly length: number;
  readonly #memory: NativeMemory;
  #data: Float32Array | Uint16Array | undefined;

  private constructor(shape: readonly number[], dtype: Dtype) {
    const check = new Check("Tensor");
    if (!(dtype in bytesPerElement)) check.fail("dtype to be f32, bf16 or f16", dtype);
    if (!Array.isArray(shape)) throw new TypeError(`Tensor: expected shape to be an Array, received ${typeof shape}`);
    this.dtype = dtype;
    this.shape = Object.freeze(shape.map((size, axis) => check.integer(`shape[${axis}]`, size, 0)));
    this.length = this.shape.reduce((product, size) => product * size, 1);
    this.#memory = memoryOf(check, this.shape, this.length * bytesPerElement[dtype]);
    const Kind = dtype === "f32" ? Float32Array : Uint16Array;
    this.#data = new Kind(this.#memory.buffer, 0, this.length);
  }

  /** Zeros. Large tensors take memory from the system when it is first written to. Throws a RangeError where there is none. */
  static allocate(shape: readonly number[], dtype: Dtype = "f32"): Tensor {
    return new Tensor(shape, dtype);
  }

  /**
   * A copy of numbers, to the nearest of the type. The shape is `[length]` and the type that of the numbers, f32 for those of a
   * plain array, where none is given.
   */
  static from(numbers: Floats | Typed | readonly number[], shape?: readonly number[], dtype?: Dtype): Tensor {
    const typed = "dtype" in numbers ? numbers : undefined;
    const count = typed === undefined ? (numbers as ArrayLike<number>).length : typed.data.length;
    const tensor = new Tensor(shape ?? [count], dtype ?? typed?.dtype ?? "f32");
    if (tensor.length !== count) {
      tensor.dispose();
      new Check("Tensor").fail(`a shape of ${count} numbers`, `[${tensor.shape.join(", ")}]`);
    }
    tensor.data.set(typed?.dtype === tensor.dtype ? typed.data : elementsOf(tensor.dtype, numbers));
    return tensor;
  }

  /** The numbers, or the bits of a half type, in the library's memory. Throws once the tensor is disposed of. */
  get data(): Float32Array | Uint16Array {
    if (this.#data === undefined) throw new Error(`Tensor: [${this.shape.join(", ")}] has been disposed of`);
    return this.#data;
  }

  get disposed(): boolean {
    return this.#data === undefined;
  }

  /**
   * Gives the memory back; views of it have length 0 from then on. A running call keeps the memory until it has ended. May be
   * called more than once.
   */
  dispose(): void {
    if (this.#data === undefined) return;
    this.#data = undefined;
    this.#memory.release(this.#memory.buffer);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Bytes of tensors whose memory is not freed yet, of all threads of the process; calls that run may use it still. */
export function tensorBytes(): number {
  return loadAddon().tensorBytes();
}

function elementsOf(dtype: Dtype, numbers: Floats | Typed | readonly number[]): ArrayLike<number> {
  const floats = Array.isArray(numbers) ? Float64Array.from(numbers) : floatsOf(numbers as Floats | Typed);
  return dtype === "f32" ? floats : bitsOf(dtype, floats);
}

/**
 * Memory of the library. In an engine that allows no buffers on foreign memory (Electron), and beyond the largest that the
 * engine allows (4 GiB in Node.js 20), memory of the engine: promise forms copy it then like that of any array, and it is
 * aligned as the engine does it.
 */
function memoryOf(check: Check, shape: readonly number[], bytes: number): NativeMemory {
  if (!Number.isSafeInteger(bytes)) check.fail("a shape that fits into memory", `[${shape.join(", ")}]`);
  try {
    const memory = bytes === 0 || bytes > constants.MAX_LENGTH ? null : loadAddon().allocate(bytes);
    return memory ?? { buffer: new ArrayBuffer(bytes), release: detach };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return check.fail("a shape that fits into memory", `[${shape.join(", ")}], ${error.message}`);
  }
}

function detach(buffer: ArrayBuffer): void {
  structuredClone(buffer, { transfer: [buffer] });
}
