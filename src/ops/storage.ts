/** Arrays of floats where ops compute, whichever place that is: on the host, or on the device of the ops. */

import type { DeviceMemory, Numbers, PlacedOps } from "./device-ops.ts";
import { DeviceTensor } from "./device-tensor.ts";
import type { Floats } from "./ops.ts";

const memoryOf = (ops: Pick<PlacedOps, "allocate"> & { readonly memory?: DeviceMemory }): DeviceMemory | undefined =>
  ops.memory;

/** Zeros, for the ops to compute with. */
export function storage(ops: Pick<PlacedOps, "allocate">, length: number): Numbers {
  return memoryOf(ops)?.allocate([length]) ?? ops.allocate(length);
}

/** Numbers of the host where the ops compute: themselves on the host, a copy on a device. */
export function placed(ops: Pick<PlacedOps, "allocate">, numbers: Floats): Numbers {
  return memoryOf(ops)?.from(numbers) ?? numbers;
}

/** The numbers on the host: themselves where they are there, else a copy as they are now. */
export function onHost(numbers: Numbers): Floats {
  return numbers instanceof DeviceTensor ? (numbers.download() as Float32Array) : numbers;
}

/** Copies between arrays of one length, both on the host or both on the device. */
export function copyNumbers(from: Numbers, to: Numbers): void {
  if (to instanceof DeviceTensor) to.copyFrom(from as DeviceTensor);
  else to.set(from as Floats);
}

/** Gives memory on a device back at once; that of the host is collected. */
export function release(numbers: Numbers | undefined): void {
  if (numbers instanceof DeviceTensor) numbers.dispose();
}
