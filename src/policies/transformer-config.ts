/** The shape of a Llama-family transformer, and the names and shapes of its tensors: those of Hugging Face checkpoints. */

import type { Shape } from "../parameters.ts";
import type { RopeScaling } from "./rope.ts";

export interface TransformerConfig {
  /** V */
  readonly vocabulary: number;
  /** H */
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  /** key/value heads; default `heads` */
  readonly kvHeads?: number;
  /** width of a head, even; default hidden / heads */
  readonly headSize?: number;
  /** width of the feed-forward part */
  readonly intermediate: number;
  /** longest sequence, in tokens */
  readonly maxPositions: number;
  /** base of the rotary angles; default 10,000 */
  readonly ropeTheta?: number;
  /** default 1e-5 */
  readonly rmsNormEps?: number;
  /** the head is the embedding; default false */
  readonly tieEmbeddings?: boolean;
  /** adds a learned vector per absolute position to the embedding; default false */
  readonly positionTable?: boolean;
  /** how the rotary angles are stretched; default not */
  readonly ropeScaling?: RopeScaling;
  /** queries, keys and values have biases (Qwen2); default false */
  readonly qkvBias?: boolean;
  /** the output of attention has a bias; default false */
  readonly outputBias?: boolean;
  /** the products of the feed-forward part have biases; default false */
  readonly mlpBias?: boolean;
  /** queries and keys are normalised per head, before they are rotated (Qwen3); default false */
  readonly qkNorm?: boolean;
  /** per layer: the tokens that one sees, itself and the nearest before it (Mistral), null for all; default all everywhere */
  readonly windows?: readonly (number | null)[];
}

/** With every default in its place. */
export type ResolvedConfig = Required<Omit<TransformerConfig, "ropeScaling">> & Pick<TransformerConfig, "ropeScaling">;

export function resolveConfig(config: TransformerConfig): ResolvedConfig {
  const { heads, hidden } = config;
  const resolved = {
    kvHeads: heads,
    headSize: hidden / heads,
    ropeTheta: 10_000,
    rmsNormEps: 1e-5,
    tieEmbeddings: false,
    positionTable: false,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    qkNorm: false,
    windows: Array<null>(config.layers).fill(null),
    ...config,
  };
  const sizes = [
    "vocabulary",
    "hidden",
    "layers",
    "heads",
    "kvHeads",
    "headSize",
    "intermediate",
    "maxPositions",
  ] as const;
  for (const name of sizes) {
    if (!Number.isInteger(resolved[name]) || resolved[name] < 1) {
      throw new RangeError(`TransformerPolicy: expected ${name} to be an integer ≥ 1, received ${resolved[name]}`);
    }
  }
  const { windows } = resolved;
  if (windows.length !== resolved.layers || !windows.every((w) => w === null || (Number.isInteger(w) && w >= 1))) {
    throw new RangeError(
      `TransformerPolicy: expected windows to be ${resolved.layers} integers ≥ 1 or null, received ${JSON.stringify(windows)}`,
    );
  }
  if (resolved.headSize % 2 !== 0) {
    throw new RangeError(`TransformerPolicy: expected headSize to be even, received ${resolved.headSize}`);
  }
  if (heads % resolved.kvHeads !== 0) {
    throw new RangeError(
      `TransformerPolicy: expected heads to be a multiple of kvHeads, received ${heads} and ${resolved.kvHeads}`,
    );
  }
  return resolved;
}

export const embeddingName = "model.embed_tokens.weight";
export const positionsName = "model.embed_positions.weight";
export const finalNormName = "model.norm.weight";
export const headName = "lm_head.weight";

export function shapesOf(config: ResolvedConfig): Shape[] {
  const { vocabulary: V, hidden: H, intermediate: F, headSize: D } = config;
  const width = config.heads * D;
  const kvWidth = config.kvHeads * D;
  const shapes: Shape[] = [{ name: embeddingName, shape: [V, H] }];
  if (config.positionTable) shapes.push({ name: positionsName, shape: [config.maxPositions, H] });
  const linear = (name: string, [rows, columns]: readonly [number, number], bias: boolean): Shape[] => [
    { name: `${name}.weight`, shape: [rows, columns] },
    ...(bias ? [{ name: `${name}.bias`, shape: [rows] }] : []),
  ];
  for (let layer = 0; layer < config.layers; layer++) {
    const of = (name: string): string => `model.layers.${layer}.${name}`;
    shapes.push(
      { name: of("input_layernorm.weight"), shape: [H] },
      ...linear(of("self_attn.q_proj"), [width, H], config.qkvBias),
      ...linear(of("self_attn.k_proj"), [kvWidth, H], config.qkvBias),
      ...linear(of("self_attn.v_proj"), [kvWidth, H], config.qkvBias),
      ...linear(of("self_attn.o_proj"), [H, width], config.outputBias),
      ...(config.qkNorm ? ["q_norm", "k_norm"] : []).map((norm) => ({
        name: of(`self_attn.${norm}.weight`),
        shape: [D],
      })),
      { name: of("post_attention_layernorm.weight"), shape: [H] },
      ...linear(of("mlp.gate_proj"), [F, H], config.mlpBias),
      ...linear(of("mlp.up_proj"), [F, H], config.mlpBias),
      ...linear(of("mlp.down_proj"), [H, F], config.mlpBias),
    );
  }
  shapes.push({ name: finalNormName, shape: [H] });
  if (!config.tieEmbeddings) shapes.push({ name: headName, shape: [V, H] });
  return shapes;
}
