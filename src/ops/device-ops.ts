/** The types of ops that take arrays on a device in place of arrays of the host. */

import type { DeviceEvent } from "./device-event.ts";
import type { DeviceTensor } from "./device-tensor.ts";
import type { Dtype, Floats, Typed } from "./arguments/values.ts";
import type { LentMemory, SharedMemory } from "./interop.ts";
import type { NativeOps } from "./native.ts";
import type { CallOptions } from "./native/promises.ts";
import type { Ops } from "./ops.ts";

/** Where an array of floats or of typed values is, a tensor on the device may be. */
type OnDevice<A> = Floats extends A ? A | DeviceTensor : { readonly [K in keyof A]: Placed<A[K]> };
type Placed<F> = Floats extends F ? F | DeviceTensor : F;

type DeviceOp<F> = F extends (args: infer A, options?: CallOptions) => Promise<infer R>
  ? F & ((args: OnDevice<A>, options?: CallOptions) => Promise<OnDevice<R>>)
  : F extends (args: infer A) => infer R
    ? F & ((args: OnDevice<A>) => OnDevice<R>)
    : { readonly [K in keyof F]: DeviceOp<F[K]> };

/** Floats where ops compute: arrays of the host, or tensors on the device of the ops. */
export type Numbers = Floats | DeviceTensor;

// Methods, so that the ops of the host, which take less, are among them.
type PlacedOp<F> = F extends (args: infer A) => infer R
  ? { call(args: OnDevice<A>): R }["call"]
  : { readonly [K in keyof F]: PlacedOp<F[K]> };

/** The ops of the host or of a device, as one sees them who keeps arrays where they compute (`storage`). */
export type PlacedOps = Pick<Ops, "name" | "allocate"> & {
  readonly [K in Exclude<keyof Ops, "name" | "allocate">]: PlacedOp<Ops[K]>;
};

/** The memory of a device. */
export interface DeviceMemory {
  /** Zeros. Throws a RangeError where the device has no memory left. */
  allocate(shape: readonly number[], dtype?: Dtype): DeviceTensor;
  /** A copy of numbers, to the nearest of the type; shape and type as for `Tensor.from`. */
  from(numbers: Floats | Typed | readonly number[], shape?: readonly number[], dtype?: Dtype): DeviceTensor;
  /** Returns when all sync calls before have ended on the device, and throws what failed in them. */
  wait(): void;
  /**
   * A tensor on memory that another library of the process owns, which is never freed here: `release` is called when the tensor
   * was disposed of (or collected) and all calls that use it have ended. Aligned like its elements, row-major. Throws a TypeError
   * or a RangeError that names what is wrong with the description.
   */
  import(lent: LentMemory): DeviceTensor;
  /**
   * A tensor on memory that another process shares: `tensor.share()` there, or any `cudaIpcMemHandle_t` of memory from
   * cudaMalloc, with where the numbers begin. The other has waited for what it had to do with the memory. Disposing of the tensor
   * closes the memory, which the other process keeps. Of what was allocated only the beginning is known: that the shape fits is
   * for the other to see to.
   */
  open(shared: SharedMemory): DeviceTensor;
  /** An event that another process can open, by its handle. */
  event(): DeviceEvent;
  /** The event of another process: `memory.event().handle` there, or any `cudaIpcEventHandle_t`. */
  openEvent(handle: Uint8Array): DeviceEvent;
  /** Sync calls that come later, and promise calls with tensors, begin when what a stream of this device has now is done. */
  follow(stream: bigint): void;
  /** What a stream of this device gets from now on begins when the sync calls before have ended; nobody waits for that here. */
  precede(stream: bigint): void;
}

/**
 * The ops of a device. Arrays of the host are copied to the device for the call and back from it. Arrays of floats and of typed
 * values may be a `DeviceTensor` of the same device instead, and nothing of those is copied; all others (indices, offsets, masks
 * of bytes, `temperature [T]`) are arrays of the host, because their values are checked, as are outputs that are not passed.
 *
 * A sync call that writes no array of the host returns before the device has run it: what fails there is thrown by a later call
 * or by `memory.wait()`, with the name of the op that was enqueued last.
 */
export type DeviceOps = NativeOps & { readonly memory: DeviceMemory } & {
  readonly [K in Exclude<keyof NativeOps, "name" | "allocate">]: DeviceOp<NativeOps[K]>;
};
