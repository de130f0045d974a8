/// <reference types="node" preserve="true" />
export * from "./ops.ts";
export { blas, cpuIsas, numThreads, openOps, setNumThreads } from "./native.ts";
export { cudaReport } from "./cuda.ts";
export type { DeviceMemory, DeviceOps, Numbers, PlacedOps } from "./device-ops.ts";
export type { DeviceEvent } from "./device-event.ts";
export type { DeviceTensor } from "./device-tensor.ts";
export { dlpackTypes } from "./interop.ts";
export type { DlpackDevice, DlpackType, ExportedMemory, LentMemory, OwnSharedMemory, SharedMemory } from "./interop.ts";
export type { CudaDevice, CudaReport, CudaStatus } from "./cuda.ts";
export type { CpuOptions, CudaOptions, NativeOps } from "./native.ts";
export type { CallOptions, PromiseOps, Promises } from "./native/promises.ts";
export { Tensor, tensorBytes } from "./tensor.ts";
export { onHost } from "./storage.ts";
export { tensorScope } from "./tensor-scope.ts";
export type { TensorScope } from "./tensor-scope.ts";
export { reference } from "./reference.ts";
