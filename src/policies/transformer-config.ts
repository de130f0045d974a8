/** The shape of a Llama-family transformer, and the names and shapes of its tensors: those of Hugging Face checkpoints. */

import type { Shape } from "../parameters.ts";

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
}

/** With every default in its place. */
export type ResolvedConfig = Required<TransformerConfig>;

export function resolveConfig(config: TransformerConfig): ResolvedConfig {
  const { heads, hidden } = config;
  const resolved = {
    kvHeads: heads,
    headSize: hidden / heads,
    ropeTheta: 10_000,
    rmsNormEps: 1e-5,
    tieEmbeddings: false,
    positionTable: false,
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
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.push(
      { name: `${prefix}.input_layernorm.weight`, shape: [H] },
      { name: `${prefix}.self_attn.q_proj.weight`, shape: [width, H] },
      { name: `${prefix}.self_attn.k_proj.weight`, shape: [kvWidth, H] },
      { name: `${prefix}.self_attn.v_proj.weight`, shape: [kvWidth, H] },
      { name: `${prefix}.self_attn.o_proj.weight`, shape: [H, width] },
      { name: `${prefix}.post_attention_layernorm.weight`, shape: [H] },
      { name: `${prefix}.mlp.gate_proj.weight`, shape: [F, H] },
      { name: `${prefix}.mlp.up_proj.weight`, shape: [F, H] },
      { name: `${prefix}.mlp.down_proj.weight`, shape: [H, F] },
    );
  }
  shapes.push({ name: finalNormName, shape: [H] });
  if (!config.tieEmbeddings) shapes.push({ name: headName, shape: [V, H] });
  return shapes;
}
