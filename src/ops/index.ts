export * from "./ops.ts";
export { blas, cpuIsas, numThreads, openOps, setNumThreads } from "./native.ts";
export type { CpuOptions, NativeOps } from "./native.ts";
export type { CallOptions, PromiseOps, Promises } from "./native/promises.ts";
export { Tensor, tensorBytes } from "./tensor.ts";
export { tensorScope } from "./tensor-scope.ts";
export type { TensorScope } from "./tensor-scope.ts";
export { reference } from "./reference.ts";
