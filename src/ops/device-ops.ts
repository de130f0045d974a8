/** The types of ops that take arrays on a device in place of arrays of the host. */

import type { DeviceTensor } from "./device-tensor.ts";
import type { Dtype, Floats, Typed } from "./arguments/values.ts";
import type { NativeOps } from "./native.ts";
import type { CallOptions } from "./native/promises.ts";

/** Where an array of floats or of typed values is, a tensor on the device may be. */
type OnDevice<A> = Floats extends A ? A | DeviceTensor : { readonly [K in keyof A]: Placed<A[K]> };
type Placed<F> = Floats extends F ? F | DeviceTensor : F;

type DeviceOp<F> = F extends (args: infer A, options?: CallOptions) => Promise<infer R>
  ? F & ((args: OnDevice<A>, options?: CallOptions) => Promise<OnDevice<R>>)
  : F extends (args: infer A) => infer R
    ? F & ((args: OnDevice<A>) => OnDevice<R>)
    : { readonly [K in keyof F]: DeviceOp<F[K]> };

/** The memory of a device. */
export interface DeviceMemory {
  /** Zeros. Throws a RangeError where the device has no memory left. */
  allocate(shape: readonly number[], dtype?: Dtype): DeviceTensor;
  /** A copy of numbers, to the nearest of the type; shape and type as for `Tensor.from`. */
  from(numbers: Floats | Typed | readonly number[], shape?: readonly number[], dtype?: Dtype): DeviceTensor;
  /** Returns when all sync calls before have ended on the device, and throws what failed in them. */
  wait(): void;
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
