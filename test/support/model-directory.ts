/** Small Hugging Face directories with random weights, written byte by byte so that no writer of the library is trusted. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { randomArrays } from "./arrays.ts";
import type { Weights } from "./llama.ts";

export interface ModelShape {
  readonly V: number;
  readonly H: number;
  readonly F: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly D: number;
}

export const smallShape: ModelShape = { V: 19, H: 24, F: 20, layers: 2, heads: 4, kvHeads: 2, D: 6 };

export interface ModelParts {
  readonly qkvBias?: boolean;
  readonly outputBias?: boolean;
  readonly mlpBias?: boolean;
  readonly qkNorm?: boolean;
  readonly tied?: boolean;
}

/** Every tensor that the parts ask for, in f32, and its shape. */
export function randomWeights(
  shape: ModelShape,
  parts: ModelParts,
  seed: number,
): Map<string, { shape: number[]; data: Float32Array }> {
  const { V, H, F, layers, heads, kvHeads, D } = shape;
  const draw = randomArrays(seed);
  const tensors = new Map<string, { shape: number[]; data: Float32Array }>();
  const add = (name: string, dims: number[], scale: number, offset = 0): void => {
    const data = draw.normals(dims.reduce((product, size) => product * size, 1)).map((x) => offset + scale * x);
    tensors.set(name, { shape: dims, data });
  };
  const linear = (name: string, rows: number, columns: number, bias?: boolean): void => {
    add(`${name}.weight`, [rows, columns], 1 / Math.sqrt(columns));
    if (bias === true) add(`${name}.bias`, [rows], 0.3);
  };
  add("model.embed_tokens.weight", [V, H], 0.7);
  for (let layer = 0; layer < layers; layer++) {
    const of = (part: string): string => `model.layers.${layer}.${part}`;
    add(of("input_layernorm.weight"), [H], 0.2, 1);
    linear(of("self_attn.q_proj"), heads * D, H, parts.qkvBias);
    linear(of("self_attn.k_proj"), kvHeads * D, H, parts.qkvBias);
    linear(of("self_attn.v_proj"), kvHeads * D, H, parts.qkvBias);
    linear(of("self_attn.o_proj"), H, heads * D, parts.outputBias);
    if (parts.qkNorm === true) {
      add(of("self_attn.q_norm.weight"), [D], 0.2, 1);
      add(of("self_attn.k_norm.weight"), [D], 0.2, 1);
    }
    add(of("post_attention_layernorm.weight"), [H], 0.2, 1);
    linear(of("mlp.gate_proj"), F, H, parts.mlpBias);
    linear(of("mlp.up_proj"), F, H, parts.mlpBias);
    linear(of("mlp.down_proj"), H, F, parts.mlpBias);
  }
  add("model.norm.weight", [H], 0.2, 1);
  if (parts.tied !== true) add("lm_head.weight", [V, H], 0.5);
  return tensors;
}

export const weightsOf = (tensors: ReadonlyMap<string, { readonly data: Float32Array }>): Weights =>
  new Map([...tensors].map(([name, { data }]) => [name, data]));

export function writeTensors(
  path: string,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>,
): void {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const bodies = [...tensors.values()].map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  writeFileSync(path, Buffer.concat([length, text, ...bodies]));
}

/** `config.json` of a shape. */
export function configOf(
  shape: ModelShape,
  modelType: string,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    architectures: [`${modelType}ForCausalLM`],
    model_type: modelType,
    vocab_size: shape.V,
    hidden_size: shape.H,
    intermediate_size: shape.F,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.D,
    hidden_act: "silu",
    max_position_embeddings: 64,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    tie_word_embeddings: false,
    ...more,
  };
}

export function writeModelDirectory(
  path: string,
  config: Readonly<Record<string, unknown>>,
  tensors: ReturnType<typeof randomWeights>,
): string {
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "config.json"), JSON.stringify(config));
  writeTensors(join(path, "model.safetensors"), tensors);
  return path;
}
