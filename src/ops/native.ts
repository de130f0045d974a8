/** The native ops: checks arguments once, then calls the kernels of one instruction set or device. */

import { loadAddon, type NativeKernels } from "./addon.ts";
import { Check } from "./check.ts";
import { openDevice } from "./cuda.ts";
import type { DeviceOps } from "./device-ops.ts";
import { attentionPlans } from "./native/attention.ts";
import { syncOps, type KernelPlans } from "./native/call.ts";
import { logprobsPlans } from "./native/logprobs.ts";
import { lossPlans } from "./native/loss.ts";
import { modelPlans } from "./native/model.ts";
import { optimizerPlans } from "./native/optimizer.ts";
import { promiseOps, type PromiseOps } from "./native/promises.ts";
import { samplePlans } from "./native/sample.ts";
import { updatePlans } from "./native/update.ts";
import type { Ops } from "./ops.ts";

/** The instruction sets that this build holds and this processor runs, the best first. */
export function cpuIsas(): readonly string[] {
  return Object.keys(loadAddon().backends);
}

/** Threads that take part in an op; `STEPCREDIT_NUM_THREADS` at start, else the usable cores. */
export function numThreads(): number {
  return loadAddon().numThreads();
}

/** Sets the number of threads, 1 … 256. Results do not depend on it. */
export function setNumThreads(threads: number): void {
  loadAddon().setNumThreads(new Check("setNumThreads").integer("threads", threads, 1, 256));
}

/** Which BLAS was compiled in, and whether it is used. */
export function blas(): { readonly name: string | null; readonly enabled: boolean } {
  const addon = loadAddon();
  return { name: addon.blasName(), enabled: addon.blasEnabled() };
}

export interface CpuOptions {
  /** instruction set; default `STEPCREDIT_ISA`, else the best */
  readonly isa?: string;
  /** false: the portable matrix product even where BLAS is at hand. Default true, unless `STEPCREDIT_BLAS=off`. */
  readonly blas?: boolean;
}

/** The ops of a device of this machine. */
export interface NativeOps extends Ops {
  /** the same ops without keeping the event loop waiting */
  readonly promises: PromiseOps;
}

export interface CudaOptions {
  /** which device, from 0; default 0 */
  readonly index?: number;
  /** false: the portable matrix product, neither cuBLASLt nor tensor cores. Default true. */
  readonly blas?: boolean;
}

/**
 * Opens the ops of the processor, or of a CUDA device by its index. Throws where the device or the instruction set is not at
 * hand; nothing falls back silently.
 */
export function openOps(device?: "cpu", options?: CpuOptions): NativeOps;
export function openOps(device: "cuda", options?: CudaOptions): DeviceOps;
export function openOps(device: "cpu" | "cuda", options?: CpuOptions & CudaOptions): NativeOps;
export function openOps(device: "cpu" | "cuda" = "cpu", options: CpuOptions & CudaOptions = {}): NativeOps {
  if (device === "cuda") return cudaOps(new Check("openOps").integer("index", options.index ?? 0, 0), options);
  if (device === "cpu") return cpuOps(options);
  throw new RangeError(`openOps: expected device to be "cpu" or "cuda", received "${String(device)}"`);
}

function cpuOps(options: CpuOptions): NativeOps {
  const isa = options.isa ?? process.env["STEPCREDIT_ISA"] ?? cpuIsas()[0];
  const { backends, starters } = loadAddon();
  const ops = backends[isa];
  if (ops === undefined) {
    throw new RangeError(`openOps: expected isa to be one of ${cpuIsas().join(", ")}, received "${isa}"`);
  }
  return opsOf(`cpu/${isa}`, { ops, starters: starters[isa] }, options.blas === false ? 1 : 0);
}

function cudaOps(index: number, { blas }: CudaOptions): DeviceOps {
  const { name, kernels, memory } = openDevice(index);
  return { ...opsOf(name, kernels, blas === false ? 1 : 0), memory } as DeviceOps;
}

/** @param portable 1: the portable matrix product even where BLAS is at hand */
function opsOf(name: string, { ops, starters }: NativeKernels, portable: 0 | 1): NativeOps {
  const plans: KernelPlans = {
    ...logprobsPlans(portable),
    ...lossPlans(),
    ...updatePlans(),
    ...optimizerPlans(),
    ...samplePlans(),
    ...modelPlans(portable),
    ...attentionPlans(),
  };
  return {
    name,
    allocate: (length) => new Float32Array(length),
    ...syncOps(plans, ({ kernel, fields }) => ops[kernel](fields)),
    promises: promiseOps(plans, (kernel) => starters[kernel]),
  };
}
