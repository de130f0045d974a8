/**
 * Memory of a device that several own: pointers from and to other libraries of the process, described as DLPack describes them,
 * and memory of other processes (CUDA IPC).
 */

import type { NativeDeviceMemory } from "./addon.ts";
import type { Dtype } from "./arguments/values.ts";
import { Check } from "./check.ts";

/** A type of elements by DLPack's numbers: `DLDataType`. */
export interface DlpackType {
  /** 2: kDLFloat, 4: kDLBfloat */
  readonly code: number;
  readonly bits: number;
  readonly lanes: number;
}

/** The types of tensors, as DLPack numbers them. */
export const dlpackTypes = {
  f32: { code: 2, bits: 32, lanes: 1 },
  bf16: { code: 4, bits: 16, lanes: 1 },
  f16: { code: 2, bits: 16, lanes: 1 },
} as const satisfies Record<Dtype, DlpackType>;

/** A device by DLPack's words: kDLCUDA and its index. */
export interface DlpackDevice {
  readonly type: "cuda";
  readonly index: number;
}

/** Memory of a device that somebody else in the process owns: what `memory.import` takes. */
export interface LentMemory {
  /** the address of the memory on the device */
  readonly pointer: bigint;
  readonly shape: readonly number[];
  readonly dtype: Dtype | DlpackType;
  /** elements from one index to the next, per axis; absent: row-major and compact, which is all that is taken */
  readonly strides?: readonly number[];
  /** bytes from the pointer to the first element; default 0 */
  readonly byteOffset?: number;
  /** default: the device of the ops */
  readonly device?: DlpackDevice;
  /**
   * A `cudaStream_t` of the device as a number, on which the memory is being written: calls that come later wait for what is
   * there now. 0n and 1n: CUDA's default stream, 2n: that of the calling thread. Absent: the memory is ready.
   */
  readonly stream?: bigint;
  /**
   * Called once, soon after the tensor was disposed of or collected and the calls that use it have ended; what it throws is a
   * rejection that nobody handles. It is kept as long as the memory is lent: a tensor that it refers to is never collected.
   */
  readonly release?: () => void;
}

/** Where a tensor lies, for another library of the process: what `DeviceTensor.export` gives. */
export interface ExportedMemory {
  /** the address of the tensor's memory; its first element is `byteOffset` bytes further */
  readonly pointer: bigint;
  readonly byteOffset: number;
  readonly shape: readonly number[];
  /** in elements, row-major */
  readonly strides: readonly number[];
  readonly dtype: DlpackType;
  readonly device: DlpackDevice;
  /** the `cudaStream_t` of the sync calls of this thread, as a number: whoever reads waits for it, or asks for `memory.precede` */
  readonly stream: bigint;
  /** Ends the use: until then the memory stays where it is, disposed of or not. It is not called by the garbage collector. */
  release(): void;
}

/** A tensor for another process: what `memory.open` takes there. All of it but `release` can be sent as it is. */
export interface SharedMemory {
  /** a `cudaIpcMemHandle_t`, 64 bytes */
  readonly handle: Uint8Array;
  /** bytes from the beginning of the allocation that the handle names to the first element */
  readonly byteOffset: number;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
}

/** What `DeviceTensor.share` gives. */
export interface OwnSharedMemory extends SharedMemory {
  /** To be called when the other process has disposed of its tensor: until then the memory stays. */
  release(): void;
}

const streamKind = "a cudaStream_t as a bigint";
const largestPointer = 2n ** 64n - 1n;

/** Orders the calls of a place with a stream of others: see `DeviceMemory.follow` and `precede`. */
export function order(
  op: string,
  { device, memory }: { readonly device: string; readonly memory: NativeDeviceMemory },
  way: "follow" | "precede",
  stream: bigint,
): void {
  const checked = checkAddress(new Check(op), "stream", streamKind, stream, 0n);
  try {
    memory[way](checked);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${op}: expected stream to be one of ${device}, received 0x${checked.toString(16)}: ${reason}`, {
      cause: error,
    });
  }
}

function checkAddress(check: Check, name: string, expected: string, value: unknown, least: bigint): bigint {
  if (typeof value !== "bigint") check.kind(name, expected, value);
  if (value < least || value > largestPointer) check.fail(`${name} to be ${expected}`, String(value));
  return value;
}

/** The type by its name or its DLPack numbers. */
function dtypeOf(check: Check, dtype: Dtype | DlpackType): Dtype {
  const names = Object.keys(dlpackTypes) as Dtype[];
  const found = names.find((name) => {
    const { code, bits, lanes } = dlpackTypes[name];
    return typeof dtype === "object" && dtype !== null
      ? dtype.code === code && dtype.bits === bits && dtype.lanes === lanes
      : dtype === name;
  });
  if (found !== undefined) return found;
  const expected = "dtype to be f32, bf16 or f16, or { code, bits, lanes } of one";
  check.fail(expected, typeof dtype === "object" ? JSON.stringify(dtype) : dtype);
}

/** Elements from one index to the next, per axis, of a row-major tensor. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * shape[axis + 1];
  return strides;
}

function checkStrides(check: Check, shape: readonly number[], strides: readonly number[]): void {
  const compact = stridesOf(shape);
  // Of an axis with one index, or in a tensor without elements, the stride says nothing.
  const differs = strides.length !== shape.length || compact.some((n, axis) => shape[axis] > 1 && strides[axis] !== n);
  if (differs && !shape.includes(0)) {
    check.fail(`strides to be those of a row-major tensor, [${compact.join(", ")}]`, `[${strides.join(", ")}]`);
  }
}

/** A shape of sizes that are integers, its number of elements being one too. */
function checkShape(check: Check, shape: readonly number[]): readonly number[] {
  if (!Array.isArray(shape)) check.kind("shape", "an Array of sizes", shape);
  const sizes = (shape as readonly number[]).map((size, axis) => check.integer(`shape[${axis}]`, size, 0));
  const length = sizes.reduce((product, size) => product * size, 1);
  if (!Number.isSafeInteger(4 * length)) check.fail("a shape that fits into memory", `[${sizes.join(", ")}]`);
  return sizes;
}

/** Lent memory that was checked. */
export interface CheckedLoan {
  /** of the first element */
  readonly pointer: bigint;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly stream: bigint | undefined;
  readonly release: (() => void) | undefined;
}

/** Everything of lent memory that can be seen without asking the device; `device` is that of the ops, such as cuda/0. */
export function checkLoan(device: string, lent: LentMemory): CheckedLoan {
  const check = new Check("memory.import");
  if (typeof lent !== "object" || lent === null) check.kind("its argument", "a description of memory", lent);
  const dtype = dtypeOf(check, lent.dtype);
  const shape = checkShape(check, lent.shape);
  if (lent.strides !== undefined) checkStrides(check, shape, lent.strides);
  if (lent.device !== undefined && `${lent.device.type}/${lent.device.index}` !== device) {
    check.fail(`device to be ${device}`, `${lent.device.type}/${lent.device.index}`);
  }
  const begin = checkAddress(check, "pointer", "an address of the device as a bigint, not null", lent.pointer, 1n);
  const pointer = begin + BigInt(check.integer("byteOffset", lent.byteOffset ?? 0, 0));
  const size = dlpackTypes[dtype].bits / 8;
  if (pointer % BigInt(size) !== 0n) {
    check.fail(`pointer + byteOffset to be a multiple of ${size} bytes, for ${dtype}`, `0x${pointer.toString(16)}`);
  }
  const stream = lent.stream === undefined ? undefined : checkAddress(check, "stream", streamKind, lent.stream, 0n);
  if (lent.release !== undefined && typeof lent.release !== "function")
    check.kind("release", "a function", lent.release);
  return { pointer, shape, dtype, stream, release: lent.release };
}

/** Everything of shared memory that can be seen without opening it. */
export function checkShared(shared: SharedMemory): SharedMemory {
  const check = new Check("memory.open");
  if (typeof shared !== "object" || shared === null) check.kind("its argument", "a description of memory", shared);
  if (!(shared.handle instanceof Uint8Array)) check.kind("handle", "a Uint8Array of length 64", shared.handle);
  if (shared.handle.length !== 64)
    check.fail("handle to be a Uint8Array of length 64", `length ${shared.handle.length}`);
  const dtype = dtypeOf(check, shared.dtype);
  const shape = checkShape(check, shared.shape);
  const byteOffset = check.integer("byteOffset", shared.byteOffset, 0);
  const size = dlpackTypes[dtype].bits / 8;
  if (byteOffset % size !== 0)
    check.fail(`byteOffset to be a multiple of ${size} bytes, for ${dtype}`, String(byteOffset));
  return { handle: shared.handle, byteOffset, shape, dtype };
}
