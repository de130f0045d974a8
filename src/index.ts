/** The public surface. */

export * from "./trajectory/index.ts";
export { minibatches, pack, packSequences, unpack } from "./batch.ts";
export type { Batch, Minibatch, PackOptions, SequenceOptions, TokenTree } from "./batch.ts";
export * from "./ops/index.ts";
export * from "./normaliser.ts";
export * from "./advantages/index.ts";
export * from "./corrections.ts";
export * from "./surrogate-masks.ts";
export type { ForwardPass, Parameter, Policy, SamplingOptions } from "./policy.ts";
export { TablePolicy } from "./policies/table.ts";
export type { TableOptions } from "./policies/table.ts";
export { TransformerPolicy } from "./policies/transformer.ts";
export type { TransformerConfig, TransformerStart } from "./policies/transformer.ts";
export { AdamW } from "./optimizer.ts";
export type { AdamWOptions, Optimizer } from "./optimizer.ts";
export { measureLogprobs, update } from "./update.ts";
export type { UpdateConfig, UpdateMetrics } from "./update.ts";
export { supervisedStep } from "./supervised.ts";
export { evaluate } from "./evaluate.ts";
export type { Evaluation } from "./evaluate.ts";
export { identification, train } from "./trainer.ts";
export type { IdentifyMetrics, Iteration, IterationMetrics, TrainConfig } from "./trainer.ts";
export { chainArithmetic } from "./tasks/chain-arithmetic.ts";
export type { ChainArithmetic, ChainArithmeticOptions } from "./tasks/chain-arithmetic.ts";
export type { Task } from "./tasks/task.ts";
export { saveSafetensors } from "./checkpoint.ts";
export { deriveSeed, Random } from "./random.ts";
