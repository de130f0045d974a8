/// <reference types="node" preserve="true" />
/** The public surface. */

export * from "./trajectory/index.ts";
export { creditedTokens, minibatches, pack, packSequences, partsOf, unpack } from "./batch.ts";
export type { Batch, Minibatch, PackOptions, SequenceOptions, TokenTree } from "./batch.ts";
export * from "./ops/index.ts";
export * from "./normaliser.ts";
export * from "./advantages/index.ts";
export * from "./corrections.ts";
export * from "./surrogate-masks.ts";
export type {
  ForwardPass,
  Parameter,
  Policy,
  PolicySampler,
  Reference,
  ReferenceWeights,
  SamplingOptions,
  TargetBatch,
} from "./policy.ts";
export { TablePolicy } from "./policies/table.ts";
export type { TableOptions } from "./policies/table.ts";
export { TransformerPolicy } from "./policies/transformer.ts";
export type {
  GenerateOptions,
  Generation,
  LoadOptions,
  SaveOptions,
  TransformerConfig,
  TransformerOptions,
  TransformerStart,
} from "./policies/transformer.ts";
export type { RopeScaling } from "./policies/rope.ts";
export { AdamW } from "./optimizer.ts";
export type { AdamWOptions, AdamWState, Optimizer } from "./optimizer.ts";
export { measureLogprobs, referenceOf } from "./reference.ts";
export type { ReferenceState } from "./reference.ts";
export { update } from "./update.ts";
export type { KlPenalty, UpdateConfig, UpdateMetrics } from "./update.ts";
export { linearPolicyUpdate } from "./linear-policy-update.ts";
export type { HeadLoss, LinearPolicyUpdateArguments, LinearPolicyUpdateResult } from "./linear-policy-update.ts";
export { supervisedStep } from "./supervised.ts";
export { evaluate } from "./evaluate.ts";
export type { Evaluation } from "./evaluate.ts";
export { train } from "./trainer.ts";
export type { Iteration, TrainConfig, TrainState } from "./trainer.ts";
export { identification } from "./iteration-metrics.ts";
export type { IdentifyMetrics, IterationMetrics } from "./iteration-metrics.ts";
export { creditRecorded } from "./credit.ts";
export type {
  AdvantageName,
  AdvantageRange,
  CorrectionSource,
  CreditConfig,
  CreditedCorrection,
  CreditedProblem,
  CreditedRollout,
  Credits,
  Spent,
  StepRule,
} from "./credit.ts";
export { creditEngineDefaults, prepareCredit } from "./credit-engine.ts";
export type { CreditEngine, CreditMeans } from "./credit-engine.ts";
export { parseRecordedProblem } from "./recorded.ts";
export type { RecordedProblem, RecordedRollout } from "./recorded.ts";
export { curriculumWeight } from "./curriculum.ts";
export type { CurriculumConfig, CurriculumState } from "./curriculum.ts";
export { chainArithmetic } from "./tasks/chain-arithmetic.ts";
export type { ChainArithmetic, ChainArithmeticOptions } from "./tasks/chain-arithmetic.ts";
export type { Task } from "./tasks/task.ts";
export { textTask } from "./tasks/text.ts";
export type { ProblemSource, TextProblem, TextTask, TextTaskOptions } from "./tasks/text.ts";
export { proceduralTaskNames, proceduralTasks } from "./tasks/procedural/index.ts";
export type { ProceduralTaskName } from "./tasks/procedural/index.ts";
export type { ProceduralLevel, ProceduralTask } from "./tasks/procedural/procedural-task.ts";
export { distinctProblems, proceduralSource } from "./tasks/procedural/source.ts";
export { boundedVerifier } from "./verifiers/bounded.ts";
export type { VerifierBounds } from "./verifiers/bounded.ts";
export { choiceVerifier } from "./verifiers/choice.ts";
export { javascriptVerifier } from "./verifiers/code/javascript.ts";
export type { ProgramLimits } from "./verifiers/code/limits.ts";
export { pythonVerifier } from "./verifiers/code/python.ts";
export type { PythonContainment, PythonOptions } from "./verifiers/code/python.ts";
export { countdownVerifier } from "./verifiers/countdown.ts";
export { exactVerifier } from "./verifiers/exact.ts";
export { mathVerifier } from "./verifiers/math.ts";
export { loadVerifier } from "./verifiers/module.ts";
export { numberVerifier } from "./verifiers/number.ts";
export type { ExtractingVerifier, ProgramVerifier, TextVerifier } from "./verifiers/verifier.ts";
export { SafetensorsFile } from "./checkpoint/safetensors-reader.ts";
export type { SafetensorsDtype, StoredTensor } from "./checkpoint/safetensors-reader.ts";
export { saveSafetensors } from "./checkpoint/safetensors-writer.ts";
export type { NamedTensor, SafetensorsOptions } from "./checkpoint/safetensors-writer.ts";
export { RemoteError, RemoteSampler } from "./remote/remote-sampler.ts";
export type { RemoteOptions } from "./remote/remote-sampler.ts";
export { servePolicy } from "./serve/server.ts";
export type { ServeOptions } from "./serve/server.ts";
export { deriveSeed, Random } from "./random.ts";
export { HuggingFaceTokenizer } from "./tokenizers/hugging-face.ts";
export type { ChatMessage, ChatOptions } from "./tokenizers/hugging-face.ts";
export { characterTokenizer, wordTokenizer } from "./tokenizers/symbols.ts";
export type { Tokenizer } from "./tokenizers/tokenizer.ts";
