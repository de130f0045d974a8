/**
 * A Llama-family transformer composed of ops: token embedding (and, as an option, a learned table of absolute positions),
 * blocks of RMSNorm, rotary grouped-query attention over a tree, and SwiGLU, a final norm and a head.
 *
 * Tensors have the names and layouts of Hugging Face checkpoints.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import type { Batch } from "../batch.ts";
import { isThere, readJson, readWeights, writeModel } from "../checkpoint/hugging-face.ts";
import {
  parseHuggingFaceConfig,
  toHuggingFaceConfig,
  type HuggingFaceConfig,
} from "../checkpoint/hugging-face-config.ts";
import type { DeviceMemory, Numbers, PlacedOps } from "../ops/device-ops.ts";
import type { Dtype, Floats } from "../ops/ops.ts";
import { placed, release } from "../ops/storage.ts";
import { openOps } from "../ops/native.ts";
import type { Optimizer } from "../optimizer.ts";
import { DeviceParameters } from "../device-parameters.ts";
import { Parameters, type Shape, type Weight, type WeightStore } from "../parameters.ts";
import type {
  ForwardPass,
  Parameter,
  Policy,
  PolicySampler,
  Reference,
  ReferenceWeights,
  SamplingOptions,
  TargetBatch,
} from "../policy.ts";
import { referenceOn } from "../reference.ts";
import { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";
import type { Completion } from "../trajectory/index.ts";
import { samplerOf } from "./generate.ts";
import { rotaryFrequencies } from "./rope.ts";
import {
  embeddingName,
  finalNormName,
  headName,
  positionsName,
  resolveConfig,
  shapesOf,
  type ResolvedConfig,
  type TransformerConfig,
} from "./transformer-config.ts";
import {
  backwardStretch,
  forwardStretch,
  stretchesOf,
  stretchLength,
  type Block,
  type Model,
  type Projection,
} from "./transformer-pass.ts";
import { TransformerDecoder } from "./transformer-decoder.ts";
import { startParameters, type TransformerStart } from "./transformer-start.ts";
import { Workspace } from "./workspace.ts";

const dtypes: readonly Dtype[] = ["f32", "bf16", "f16"];

export type { TargetBatch } from "../policy.ts";
export type { TransformerConfig } from "./transformer-config.ts";
export type { TransformerStart } from "./transformer-start.ts";

export interface TransformerOptions {
  /** ops that are open already; default those of the CPU */
  readonly ops?: PlacedOps;
  /**
   * Of a training pass, keep the inputs of the layers alone and compute what lies inside them again for the gradient: less
   * memory for another forward pass, and the same numbers to the bit. Default false: all of it is kept.
   */
  readonly recompute?: boolean;
  /**
   * What the weights are rounded to, default f32: not at all. Steps of the optimizer move f32 master copies, which `save`
   * writes; arithmetic is f32 in any case.
   */
  readonly dtype?: Dtype;
}

export interface LoadOptions extends TransformerOptions {
  /** where the ops run, unless they are given; default cpu */
  readonly device?: "cpu" | "cuda";
  /** longest sequence; default the config's `max_position_embeddings` */
  readonly maxPositions?: number;
}

export interface SaveOptions {
  /** stored type of the weights; default f32, which loses nothing */
  readonly dtype?: Dtype;
  /** a file does not grow beyond this where a tensor fits; default 5 · 10⁹ */
  readonly maxFileBytes?: number;
}

export interface GenerateOptions extends Omit<SamplingOptions, "seed"> {
  /** of every continuation */
  readonly maxTokens: number;
  /** token ids that end one; default the policy's end tokens */
  readonly stop?: readonly number[];
  /** runs of tokens that end one, as ids or as texts; they are kept */
  readonly stopSequences?: readonly (string | readonly number[])[];
  /** default 0 */
  readonly seed?: number;
}

export interface Generation extends Completion {
  /** where the policy has a tokenizer */
  readonly text?: string;
}

/** Where a policy was read from. */
interface Origin {
  readonly directory: string;
  readonly described: HuggingFaceConfig;
  readonly tokenizer: HuggingFaceTokenizer | undefined;
}

/** The weights of a policy where its ops compute. */
function parametersOn(
  ops: PlacedOps & { readonly memory?: DeviceMemory },
  shapes: readonly Shape[],
  dtype: Dtype,
): WeightStore {
  const { memory } = ops;
  return memory === undefined
    ? new Parameters(ops, shapes, dtype)
    : new DeviceParameters({ ...ops, memory }, shapes, dtype);
}

export class TransformerPolicy implements Policy {
  readonly ops: PlacedOps;
  readonly config: ResolvedConfig;
  /** as in `TransformerOptions` */
  readonly recompute: boolean;
  /** as in `TransformerOptions` */
  readonly dtype: Dtype;
  readonly #parameters: WeightStore;
  readonly #model: Model;
  readonly #decoder: TransformerDecoder;
  #passes = 0;
  /** the pass that `logprobs` made last, for the `backward` of the same batch */
  #measured: { readonly batch: TargetBatch; readonly pass: ForwardPass; readonly lse: Floats } | undefined;
  #origin: Origin | undefined;
  #disposed = false;

  /** A policy with all parameters 0; `create` starts one at random, `load` reads one. */
  constructor(config: TransformerConfig, options: TransformerOptions = {}) {
    const { ops = openOps("cpu"), recompute = false, dtype = "f32" } = options;
    if (!dtypes.includes(dtype)) {
      throw new RangeError(`TransformerPolicy: expected dtype to be one of ${dtypes.join(", ")}, received ${dtype}`);
    }
    this.ops = ops;
    this.dtype = dtype;
    this.recompute = recompute;
    this.config = resolveConfig(config);
    this.#parameters = parametersOn(ops, shapesOf(this.config), dtype);
    this.#model = this.#assemble();
    this.#decoder = new TransformerDecoder(this.#model);
  }

  /** A policy started at random. */
  static create(config: TransformerConfig, start: TransformerStart, options?: TransformerOptions): TransformerPolicy {
    const policy = new TransformerPolicy(config, options);
    startParameters(policy.parameters(), policy.config, start);
    policy.changed();
    return policy;
  }

  /**
   * Reads a Hugging Face directory of a Llama-family model; `docs/models.md` lists them.
   * @throws Error that names the file and the field or tensor
   */
  static async load(directory: string, options: LoadOptions = {}): Promise<TransformerPolicy> {
    const path = join(directory, "config.json");
    const described = parseHuggingFaceConfig(path, await readJson(path), options.maxPositions);
    const { ops = openOps(options.device ?? "cpu"), ...rest } = options;
    const policy = new TransformerPolicy(described.config, { ...rest, ops });
    await readWeights(directory, policy.parameters(), policy.config.tieEmbeddings ? [headName] : []);
    policy.changed();
    const tokenizer = (await isThere(join(directory, "tokenizer.json")))
      ? await HuggingFaceTokenizer.load(directory)
      : undefined;
    policy.#origin = { directory, described, tokenizer };
    return policy;
  }

  /** Writes a Hugging Face directory, with the tokenizer's files of the one that the policy was read from. */
  async save(directory: string, options: SaveOptions = {}): Promise<void> {
    this.#alive("save");
    const { dtype = "f32" } = options;
    const config = this.#origin?.described.raw ?? toHuggingFaceConfig(this.config);
    const named = { f32: "float32", bf16: "bfloat16", f16: "float16" }[dtype];
    await mkdir(directory, { recursive: true });
    await writeModel(directory, { ...config, torch_dtype: named }, this.#parameters.masters, {
      ...options,
      ...(this.#origin && { companionsOf: this.#origin.directory }),
    });
  }

  /** Token ids that end a text, by the config that the policy was read from; none of a fresh one. */
  get endTokens(): readonly number[] {
    return this.#origin?.described.eosTokenIds ?? [];
  }

  /** That of the directory that the policy was read from; undefined where it has none. */
  get tokenizer(): HuggingFaceTokenizer | undefined {
    return this.#origin?.tokenizer;
  }

  get vocabulary(): number {
    return this.config.vocabulary;
  }

  /** Tokens that went through the layers while sampling, since the policy was made: shared prefixes count once. */
  get computedTokens(): number {
    return this.#decoder.computedTokens;
  }

  parameters(): readonly Parameter[] {
    return this.#parameters.list;
  }

  clone(): TransformerPolicy {
    this.#alive("clone");
    const copy = new TransformerPolicy(this.config, this);
    copy.#parameters.copyFrom(this.#parameters);
    copy.#origin = this.#origin;
    return copy;
  }

  /**
   * The policy as it is now, frozen. It shares the policy's weights, and takes no memory, until a step of the optimizer moves
   * them; then it keeps a copy of them in their type: 4 bytes per parameter in f32, 2 in bf16 and f16, and neither master
   * copies nor gradients. Its passes use the policy's working memory: a forward pass that waits for its backward is lost.
   * @param from the weights of an earlier reference, taken over, in place of those of now
   * @throws RangeError where `from` has another length or type
   */
  reference(from?: ReferenceWeights): Reference {
    this.#alive("reference");
    return referenceOn(this, this.#parameters, from);
  }

  /** Call after writing to the parameters' data by hand: forgets what was computed with the old ones. */
  changed(): void {
    this.#parameters.adopt();
    this.#forget();
  }

  step(optimizer: Optimizer): number {
    this.#alive("step");
    try {
      return this.#parameters.step(optimizer);
    } finally {
      this.#forget();
    }
  }

  /**
   * One continuation per prompt; prompts may be of different lengths, those that begin alike are read once.
   * @param prompts token ids, or texts where the policy has a tokenizer
   */
  async generate(
    prompts: readonly (string | readonly number[])[],
    options: GenerateOptions,
  ): Promise<readonly Generation[]> {
    const { maxTokens, stop = this.endTokens, stopSequences, ...sampling } = options;
    const requests = prompts.map((prompt) => ({
      prefix: this.#encoded(prompt),
      maxTokens,
      stop,
      ...(stopSequences && { stopSequences: stopSequences.map((sequence) => this.#encoded(sequence)) }),
    }));
    const completions = await this.sampler({ seed: 0, ...sampling }).sample(requests);
    const { tokenizer } = this;
    return completions.map((completion) => ({
      ...completion,
      ...(tokenizer && { text: tokenizer.decode(completion.tokens) }),
    }));
  }

  sampler(options: SamplingOptions): PolicySampler {
    this.#alive("sampler");
    return samplerOf(
      {
        ops: this.ops,
        vocabulary: this.vocabulary,
        maxPositions: this.config.maxPositions,
        child: (parent, token) => this.#decoder.child(parent, token),
        logits: (nodes) => this.#decoder.logits(nodes),
      },
      options,
    );
  }

  /** Log-probs of a batch's targets under the policy as it is, `[N]` in nats, at temperature 1. */
  logprobs(batch: TargetBatch): Floats {
    const pass = this.forward(batch);
    const { targetOffsets, targets } = batch;
    const { lse, logprobs } = this.ops.logprobs({ logits: pass.logits, targetOffsets, targets });
    this.#measured = { batch, pass, lse };
    return logprobs;
  }

  /**
   * Adds the gradient of Σ dlogprobs · logprobs to the parameters' gradients. Right after the `logprobs` of the same batch,
   * its pass is used; else it is made again.
   * @param dlogprobs `[N]`
   */
  backward(batch: TargetBatch, dlogprobs: Floats): void {
    if (this.#measured?.batch !== batch) this.logprobs(batch);
    const measured = this.#measured;
    if (measured === undefined) throw new Error("TransformerPolicy: expected a pass of the batch, found none");
    this.#measured = undefined;
    const { pass, lse } = measured;
    const { targetOffsets, targets } = batch;
    const { logits } = pass;
    this.ops.logprobsBackward({ logits, targetOffsets, targets, lse, dlogprobs, dlogits: logits });
    pass.backward(logits);
  }

  /** Lets go of the weights and of all that was computed with them; the policy cannot be used any more. */
  dispose(): void {
    this.#disposed = true;
    this.#forget();
    const { workspace, cosines, sines } = this.#model;
    workspace.clear();
    this.#decoder.dispose();
    [cosines, sines].forEach(release);
    this.#parameters.dispose?.();
  }

  forward(batch: Pick<Batch, "tokens" | "depth" | "subtreeEnd">): ForwardPass {
    this.#alive("forward");
    this.#measured = undefined;
    this.#checkDepth(batch.depth);
    const model = this.#model;
    const stretches = stretchesOf(batch, stretchLength(this.config));
    const logits = model.workspace.take("logits", batch.tokens.length * this.vocabulary);
    for (const stretch of stretches) forwardStretch(model, stretch, logits);

    const pass = ++this.#passes;
    const backward = (dlogits: Numbers): void => {
      if (pass !== this.#passes) {
        throw new Error(
          "TransformerPolicy: expected backward right after its forward, received one after another forward",
        );
      }
      for (const stretch of stretches) backwardStretch(model, stretch, dlogits);
    };
    return { logits, backward };
  }

  #forget(): void {
    this.#decoder.clear();
    this.#measured = undefined;
  }

  #alive(method: string): void {
    if (this.#disposed) throw new Error(`TransformerPolicy: expected ${method} before dispose, received it after`);
  }

  #encoded(prompt: string | readonly number[]): readonly number[] {
    if (typeof prompt !== "string") return prompt;
    const { tokenizer } = this;
    if (tokenizer === undefined) {
      throw new TypeError("TransformerPolicy: expected token ids, as there is no tokenizer, received a text");
    }
    return tokenizer.encode(prompt);
  }

  #assemble(): Model {
    const { layers, positionTable, tieEmbeddings } = this.config;
    const [cosines, sines] = this.#rotary();
    return {
      ops: this.ops,
      config: this.config,
      embedding: this.#parameters.get(embeddingName),
      positions: positionTable ? this.#parameters.get(positionsName) : undefined,
      blocks: Array.from({ length: layers }, (_, layer) => this.#block(layer)),
      norm: this.#parameters.get(finalNormName),
      head: this.#parameters.get(tieEmbeddings ? embeddingName : headName),
      cosines,
      sines,
      workspace: new Workspace(this.ops),
      recompute: this.recompute,
    };
  }

  #block(layer: number): Block {
    const { qkvBias, outputBias, mlpBias, qkNorm, windows } = this.config;
    const of = (name: string): Weight => this.#parameters.get(`model.layers.${layer}.${name}`);
    const projection = (name: string, bias: boolean): Projection => ({
      weight: of(`${name}.weight`),
      bias: bias ? of(`${name}.bias`) : undefined,
    });
    return {
      window: windows[layer] ?? undefined,
      inputNorm: of("input_layernorm.weight"),
      q: projection("self_attn.q_proj", qkvBias),
      k: projection("self_attn.k_proj", qkvBias),
      v: projection("self_attn.v_proj", qkvBias),
      o: projection("self_attn.o_proj", outputBias),
      qNorm: qkNorm ? of("self_attn.q_norm.weight") : undefined,
      kNorm: qkNorm ? of("self_attn.k_norm.weight") : undefined,
      postNorm: of("post_attention_layernorm.weight"),
      gate: projection("mlp.gate_proj", mlpBias),
      up: projection("mlp.up_proj", mlpBias),
      down: projection("mlp.down_proj", mlpBias),
    };
  }

  /** Cosines and sines `[maxPositions, D / 2]` of the rotary angles. */
  #rotary(): readonly [cosines: Numbers, sines: Numbers] {
    const { headSize, maxPositions, ropeTheta, ropeScaling } = this.config;
    const rope = { headSize, theta: ropeTheta, positions: maxPositions, ...(ropeScaling && { scaling: ropeScaling }) };
    const { frequencies, amplitude } = rotaryFrequencies(rope);
    const half = headSize / 2;
    const [cosines, sines] = [this.ops.allocate(maxPositions * half), this.ops.allocate(maxPositions * half)];
    for (let position = 0; position < maxPositions; position++) {
      for (let i = 0; i < half; i++) {
        cosines[position * half + i] = amplitude * Math.cos(position * frequencies[i]);
        sines[position * half + i] = amplitude * Math.sin(position * frequencies[i]);
      }
    }
    return [placed(this.ops, cosines), placed(this.ops, sines)];
  }

  #checkDepth(depth: Int32Array): void {
    for (const position of depth) {
      if (position >= this.config.maxPositions) {
        throw new RangeError(
          `TransformerPolicy: expected at most maxPositions = ${this.config.maxPositions} tokens in a row, received position ${position}`,
        );
      }
    }
  }
}
