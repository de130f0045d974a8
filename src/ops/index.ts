export * from "./ops.ts";
export { blas, cpuIsas, numThreads, openOps, setNumThreads } from "./native.ts";
export type { CpuOptions, NativeOps } from "./native.ts";
export type { CallOptions, PromiseOps, Promises } from "./native/promises.ts";
export { reference } from "./reference.ts";
