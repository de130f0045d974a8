export * from "./ops.ts";
export { blas, cpuIsas, numThreads, openOps, setNumThreads } from "./native.ts";
export type { CpuOptions } from "./native.ts";
export { reference } from "./reference.ts";
