/** The CUDA plug-in: where it is looked for, what became of it, and the ops of its devices. */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { loadAddon, type NativeDevice, type NativeKernels } from "./addon.ts";
import { DeviceEvent } from "./device-event.ts";
import type { DeviceMemory } from "./device-ops.ts";
import { DeviceTensor } from "./device-tensor.ts";
import { order } from "./interop.ts";

export type CudaStatus = "off" | "not-built" | "load-failed" | "abi-mismatch" | "present-no-device" | "ready";

export interface CudaDevice {
  /** what `openOps("cuda", { index })` takes */
  readonly index: number;
  readonly name: string;
  /** such as sm_90 */
  readonly architecture: string;
  readonly memoryBytes: number;
  readonly multiprocessors: number;
}

/** What there is of CUDA. */
export interface CudaReport {
  readonly status: CudaStatus;
  /** why it is not ready; empty: it is */
  readonly why: string;
  /** what to do about it; empty: nothing */
  readonly remedy: string;
  /** the plug-in, there or not */
  readonly path: string;
  /** what the plug-in was compiled with and for; empty where it was not loaded */
  readonly build: string;
  /**
   * Whether products of matrices go to cuBLASLt, and why not where they take a kernel of the plug-in; null where the plug-in was
   * not loaded. A call of cuBLASLt that fails is the last one of the process.
   */
  readonly cublaslt: { readonly used: boolean; readonly why: string } | null;
  readonly devices: readonly CudaDevice[];
}

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Where the plug-in may lie, in order of preference, unless `STEPCREDIT_CUDA_PLUGIN` names another file. */
export const pluginPaths: readonly string[] = [
  join(root, "build-cuda", "Release", "stepcredit_cuda.so"),
  join(root, "prebuilds", `${process.platform}-${process.arch}`, "stepcredit_cuda.so"),
];

const remedies: Readonly<Record<CudaStatus, string>> = {
  off: "unset STEPCREDIT_CUDA",
  "not-built": "none needed for the CPU ops; for CUDA install nvcc and CMake, then `npx stepcredit build --cuda`",
  "load-failed": "build it again on this machine: `npx stepcredit build --cuda`",
  "abi-mismatch": "build the addon and the plug-in from the same version: `npx stepcredit build --cuda`",
  "present-no-device": "install NVIDIA's driver, or make a device visible (CUDA_VISIBLE_DEVICES, `--gpus all`)",
  ready: "",
};

function pluginPath(): string {
  const named = process.env["STEPCREDIT_CUDA_PLUGIN"];
  return named ?? pluginPaths.find((path) => existsSync(path)) ?? pluginPaths[0];
}

/** Loads the plug-in, where there is one, and says what it finds. Only this and `openOps("cuda")` do. */
export function cudaReport(): CudaReport {
  return look().report;
}

function look(): { readonly report: CudaReport; readonly devices: readonly NativeDevice[] } {
  const path = pluginPath();
  if (process.env["STEPCREDIT_CUDA"] === "off") {
    const report = { status: "off", why: "STEPCREDIT_CUDA is off", remedy: remedies.off } as const;
    return { report: { ...report, path, build: "", cublaslt: null, devices: [] }, devices: [] };
  }
  const { status, why, build, cublaslt, devices } = loadAddon().loadPlugin(path);
  const described = devices.map(({ name, architecture, memoryBytes, multiprocessors }, index) => ({
    index,
    name,
    architecture,
    memoryBytes,
    multiprocessors,
  }));
  return { report: { status, why, remedy: remedies[status], path, build, cublaslt, devices: described }, devices };
}

/** A device of the plug-in, opened. */
interface OpenDevice {
  readonly name: string;
  readonly kernels: NativeKernels;
  readonly memory: DeviceMemory;
}

/** By path and index: a device is opened once in an environment, so that all of its ops have their calls in one queue. */
const opened = new Map<string, OpenDevice>();

/** The kernels and the memory of a device of the plug-in. Throws where there is none, and says why and what helps. */
export function openDevice(index: number): OpenDevice {
  const { report, devices } = look();
  if (report.status !== "ready") {
    throw new Error(`openOps: CUDA is ${report.status}: ${report.why}. Remedy: ${report.remedy}.`);
  }
  const device = devices[index];
  if (device === undefined) {
    throw new RangeError(`openOps: expected index in 0 … ${devices.length - 1}, received ${index}`);
  }
  const key = `${index} ${report.path}`;
  const known = opened.get(key) ?? open(device, index);
  opened.set(key, known);
  return known;
}

function open(native: NativeDevice, index: number): OpenDevice {
  const { memory, ...kernels } = native.open();
  const place = { device: `cuda/${index}`, memory };
  return {
    name: `cuda/${index} ${native.name}`,
    kernels,
    memory: {
      allocate: (shape, dtype) => DeviceTensor.allocate(place, shape, dtype),
      from: (numbers, shape, dtype) => DeviceTensor.from(place, numbers, shape, dtype),
      wait: () => memory.wait(),
      import: (lent) => DeviceTensor.import(place, lent),
      open: (shared) => DeviceTensor.open(place, shared),
      event: () => DeviceEvent.make(place),
      openEvent: (handle) => DeviceEvent.open(place, handle),
      follow: (stream) => order("memory.follow", place, "follow", stream),
      precede: (stream) => order("memory.precede", place, "precede", stream),
    },
  };
}
