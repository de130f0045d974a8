/** `config.json` of a Hugging Face directory: what it says of a Llama-family policy, and what of it cannot be run. */

import type { ResolvedConfig, TransformerConfig } from "../policies/transformer-config.ts";
import type { RopeScaling } from "../policies/rope.ts";

/**
 * The model types that `TransformerPolicy` computes. SmolLM and SmolLM2 are of type llama; stepcredit is llama with a table of
 * absolute positions, which no other tool knows.
 */
export const modelTypes = ["llama", "mistral", "qwen2", "qwen3", "stepcredit"] as const;

export type ModelType = (typeof modelTypes)[number];

/** What a config says besides the policy's shape. */
export interface HuggingFaceConfig {
  readonly modelType: ModelType;
  readonly config: TransformerConfig;
  /** dtype of the stored tensors as the config names it, if it does: `bfloat16` … */
  readonly storedDtype?: string;
  readonly eosTokenIds: readonly number[];
  readonly bosTokenId?: number;
  readonly padTokenId?: number;
  /** the file as it was read, for what is written back */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** Fields of a JSON object, read with errors that name the file and the field. */
class Fields {
  readonly #path: string;
  readonly #prefix: string;
  readonly raw: Readonly<Record<string, unknown>>;

  constructor(path: string, raw: unknown, prefix = "") {
    this.#path = path;
    this.#prefix = prefix;
    if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
      throw new Error(`${path}: expected ${prefix === "" ? "the file" : prefix} to hold an object`);
    }
    this.raw = raw as Record<string, unknown>;
  }

  fail(name: string, expected: string): never {
    const received = JSON.stringify(this.raw[name]) ?? "none";
    throw new Error(`${this.#path}: expected ${this.#prefix}${name} to be ${expected}, received ${received}`);
  }

  /** null and absence are the same in these files */
  has(name: string): boolean {
    return this.raw[name] !== undefined && this.raw[name] !== null;
  }

  number(name: string, fallback?: number): number {
    if (!this.has(name) && fallback !== undefined) return fallback;
    const value = this.raw[name];
    return typeof value === "number" && value > 0 && Number.isFinite(value) ? value : this.fail(name, "a number > 0");
  }

  integer(name: string, fallback?: number): number {
    const value = this.number(name, fallback);
    return Number.isInteger(value) ? value : this.fail(name, "an integer ≥ 1");
  }

  count(name: string, fallback: number): number {
    const value = this.raw[name] ?? fallback;
    return Number.isInteger(value) && (value as number) >= 0 ? (value as number) : this.fail(name, "an integer ≥ 0");
  }

  boolean(name: string, fallback: boolean): boolean {
    if (!this.has(name)) return fallback;
    const value = this.raw[name];
    return typeof value === "boolean" ? value : this.fail(name, "true or false");
  }

  object(name: string): Fields | undefined {
    return this.has(name) ? new Fields(this.#path, this.raw[name], `${this.#prefix}${name}.`) : undefined;
  }

  /** Token ids: a number, a list, or nothing. */
  ids(name: string): readonly number[] {
    if (!this.has(name)) return [];
    const value = this.raw[name];
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    return list.map((id) =>
      Number.isInteger(id) && (id as number) >= 0 ? (id as number) : this.fail(name, "token ids"),
    );
  }
}

/**
 * Reads a config. `positions` is the longest sequence wanted; default the config's `max_position_embeddings`.
 * Throws an Error that names the file and the field, of architectures that are not supported with their name.
 */
export function parseHuggingFaceConfig(path: string, json: unknown, positions?: number): HuggingFaceConfig {
  const fields = new Fields(path, json);
  const modelType = modelTypes.find((type) => type === fields.raw["model_type"]);
  if (modelType === undefined) {
    return fields.fail(
      "model_type",
      `one of ${modelTypes.join(", ")} (other architectures have parts that are missing here)`,
    );
  }
  refuse(fields);
  const hidden = fields.integer("hidden_size");
  const heads = fields.integer("num_attention_heads");
  const rope = ropeOf(fields);
  const qkvBias = modelType === "qwen2" || (modelType !== "mistral" && fields.boolean("attention_bias", false));
  const maxPositions = positions ?? fields.integer("max_position_embeddings");
  const layers = fields.integer("num_hidden_layers");
  const windows = windowsOf(fields, modelType, layers);
  const [bos, pad] = [fields.ids("bos_token_id")[0], fields.ids("pad_token_id")[0]];
  const stored = fields.raw["dtype"] ?? fields.raw["torch_dtype"];
  return {
    modelType,
    config: {
      vocabulary: fields.integer("vocab_size"),
      hidden,
      layers,
      heads,
      kvHeads: fields.integer("num_key_value_heads", modelType === "mistral" ? 8 : modelType === "llama" ? heads : 32),
      headSize: fields.integer("head_dim", modelType === "qwen3" ? 128 : Math.floor(hidden / heads)),
      intermediate: fields.integer("intermediate_size"),
      maxPositions,
      ropeTheta: rope.theta,
      ...(rope.scaling && { ropeScaling: rope.scaling }),
      rmsNormEps: fields.number("rms_norm_eps", 1e-6),
      tieEmbeddings: fields.boolean("tie_word_embeddings", false),
      qkvBias,
      outputBias: qkvBias && modelType !== "qwen2",
      mlpBias: modelType === "llama" && fields.boolean("mlp_bias", false),
      qkNorm: modelType === "qwen3",
      positionTable: modelType === "stepcredit",
      ...(windows && { windows }),
    },
    ...(typeof stored === "string" && { storedDtype: stored }),
    eosTokenIds: fields.ids("eos_token_id"),
    ...(bos !== undefined && { bosTokenId: bos }),
    ...(pad !== undefined && { padTokenId: pad }),
    raw: fields.raw,
  };
}

/** What these architectures may say that would change the numbers, and is not computed here. */
function refuse(fields: Fields): void {
  if (fields.has("hidden_act") && fields.raw["hidden_act"] !== "silu") fields.fail("hidden_act", '"silu"');
  if (fields.number("pretraining_tp", 1) !== 1) fields.fail("pretraining_tp", "1 (sliced products are missing here)");
  if (fields.has("quantization_config")) {
    fields.fail("quantization_config", "absent (quantized weights are missing here: load the f32, f16 or bf16 ones)");
  }
  if (fields.number("partial_rotary_factor", 1) !== 1) {
    fields.fail("partial_rotary_factor", "1 (heads that are rotated in part are missing here)");
  }
}

/** Per layer, how many tokens one sees; `layer_types` tells where the file has them, else the rule of the model type does. */
function windowsOf(fields: Fields, modelType: ModelType, layers: number): (number | null)[] | undefined {
  const qwen = modelType === "qwen2" || modelType === "qwen3";
  const used = modelType === "mistral" || (qwen && fields.boolean("use_sliding_window", false));
  if (!used || fields.raw["sliding_window"] === null) return undefined;
  const window = fields.integer("sliding_window", 4096);
  const full = qwen ? fields.count("max_window_layers", 28) : 0;
  return slidingLayers(fields, layers, full).map((sliding) => (sliding ? window : null));
}

function slidingLayers(fields: Fields, layers: number, full: number): boolean[] {
  if (!fields.has("layer_types")) return Array.from({ length: layers }, (_, layer) => layer >= full);
  const types: unknown = fields.raw["layer_types"];
  const isType = (type: unknown): boolean => type === "sliding_attention" || type === "full_attention";
  if (!Array.isArray(types) || types.length !== layers || !types.every(isType)) {
    return fields.fail("layer_types", `${layers} times sliding_attention or full_attention`);
  }
  return types.map((type) => type === "sliding_attention");
}

/** `rope_theta` and `rope_scaling`, or `rope_parameters` which holds both in newer files. */
function ropeOf(fields: Fields): { readonly theta: number; readonly scaling?: RopeScaling } {
  const parameters = fields.object("rope_parameters");
  const theta = parameters?.has("rope_theta") ? parameters.number("rope_theta") : fields.number("rope_theta", 10_000);
  const given = parameters ?? fields.object("rope_scaling");
  const scaling = given && scalingOf(given, fields.integer("max_position_embeddings"));
  return { theta, ...(scaling && { scaling }) };
}

function scalingOf(given: Fields, positions: number): RopeScaling | undefined {
  const key = given.has("rope_type") ? "rope_type" : "type";
  const originalPositions = given.integer("original_max_position_embeddings", positions);
  switch (given.raw[key]) {
    case "default":
    case undefined:
      return undefined;
    case "linear":
      return { type: "linear", factor: given.number("factor") };
    case "dynamic":
      return { type: "dynamic", factor: given.number("factor"), originalPositions };
    case "llama3":
      return {
        type: "llama3",
        factor: given.number("factor"),
        lowFreqFactor: given.number("low_freq_factor"),
        highFreqFactor: given.number("high_freq_factor"),
        originalPositions,
      };
    case "yarn":
      return yarnOf(given, originalPositions, positions / originalPositions);
    default:
      return given.fail(key, "one of default, linear, dynamic, llama3, yarn");
  }
}

function yarnOf(given: Fields, originalPositions: number, stretch: number): RopeScaling {
  const factor = given.number("factor", stretch);
  const amplitude = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const byScales =
    given.has("mscale") && given.has("mscale_all_dim")
      ? amplitude(given.number("mscale")) / amplitude(given.number("mscale_all_dim"))
      : undefined;
  const attentionFactor = given.has("attention_factor") ? given.number("attention_factor") : byScales;
  return {
    type: "yarn",
    factor,
    originalPositions,
    betaFast: given.number("beta_fast", 32),
    betaSlow: given.number("beta_slow", 1),
    truncate: given.boolean("truncate", true),
    ...(attentionFactor !== undefined && { attentionFactor }),
  };
}

/** `config.json` of a policy that was not read from one, for the model type that has its parts. */
export function toHuggingFaceConfig(config: ResolvedConfig): Record<string, unknown> {
  const { qkvBias, outputBias, mlpBias, qkNorm, positionTable, ropeScaling } = config;
  const windows = new Set(config.windows.filter((window) => window !== null));
  const plain = windows.size > 0 ? "mistral" : "llama";
  const modelType = positionTable ? "stepcredit" : qkNorm ? "qwen3" : qkvBias && !outputBias ? "qwen2" : plain;
  const architecture = { llama: "Llama", mistral: "Mistral", qwen2: "Qwen2", qwen3: "Qwen3", stepcredit: "Stepcredit" };
  const expressible =
    (modelType === "qwen2" || qkvBias === outputBias) &&
    (modelType !== "mistral" || !qkvBias) &&
    (!mlpBias || modelType === "llama" || modelType === "stepcredit") &&
    (windows.size === 0 || (windows.size === 1 && modelType !== "stepcredit"));
  if (!expressible || (positionTable && qkNorm)) {
    throw new Error(
      "save: no Hugging Face model type has this combination of biases, norms, position table and windows",
    );
  }
  return {
    architectures: [`${architecture[modelType]}ForCausalLM`],
    model_type: modelType,
    vocab_size: config.vocabulary,
    hidden_size: config.hidden,
    intermediate_size: config.intermediate,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headSize,
    hidden_act: "silu",
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.ropeTheta,
    rope_scaling: ropeScaling === undefined ? null : scalingFields(ropeScaling),
    attention_bias: qkvBias,
    mlp_bias: mlpBias,
    tie_word_embeddings: config.tieEmbeddings,
    ...(windows.size > 0 && {
      use_sliding_window: true,
      sliding_window: [...windows][0],
      layer_types: config.windows.map((window) => (window === null ? "full_attention" : "sliding_attention")),
    }),
  };
}

function scalingFields(scaling: RopeScaling): Record<string, unknown> {
  const { type, factor } = scaling;
  switch (type) {
    case "linear":
      return { rope_type: type, factor };
    case "dynamic":
      return { rope_type: type, factor, original_max_position_embeddings: scaling.originalPositions };
    case "llama3":
      return {
        rope_type: type,
        factor,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalPositions,
      };
    case "yarn":
      return {
        rope_type: type,
        factor,
        original_max_position_embeddings: scaling.originalPositions,
        beta_fast: scaling.betaFast ?? 32,
        beta_slow: scaling.betaSlow ?? 1,
        truncate: scaling.truncate ?? true,
        ...(scaling.attentionFactor !== undefined && { attention_factor: scaling.attentionFactor }),
      };
  }
}
