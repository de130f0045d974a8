/** Arrays of floats where ops compute, whichever place that is: on the host, or on the device of the ops. */

import type { DeviceMemory, Numbers, PlacedOps } from "./device-ops.ts";
import { DeviceTensor } from "./device-tensor.ts";
import { widen } from "./halves.ts";
import type { Dtype, Floats } from "./ops.ts";

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

/** The numbers on the host: themselves where they are there, else a copy as they are now, in f32. */
export function onHost(numbers: Numbers): Floats {
  if (!(numbers instanceof DeviceTensor)) return numbers;
  const data = numbers.download();
  if (data instanceof Float32Array) return data;
  const floats = new Float32Array(data.length);
  widen(numbers.dtype as Exclude<Dtype, "f32">, data, floats);
  return floats;
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
