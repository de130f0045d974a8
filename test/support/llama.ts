/**
 * A Llama-family forward pass in float64, token by token and written from the published architectures alone: it shares no line
 * with the policy that it judges.
 */

import type { TransformerConfig } from "../../src/policies/transformer.ts";

export type Weights = ReadonlyMap<string, ArrayLike<number>>;

export interface LlamaShape extends TransformerConfig {
  /** angle per position of the pairs (i, i + D / 2) */
  readonly frequencies: readonly number[];
  /** of cosines and sines */
  readonly amplitude: number;
}

const dot = (weight: ArrayLike<number>, row: number, x: readonly number[]): number =>
  x.reduce((sum, value, i) => sum + weight[row * x.length + i] * value, 0);

/** Logits `[tokens, V]` of one sequence. */
export function llamaLogits(shape: LlamaShape, weights: Weights, tokens: readonly number[]): number[][] {
  const { hidden, layers, heads, vocabulary, rmsNormEps = 1e-5 } = shape;
  const kvHeads = shape.kvHeads ?? heads;
  const D = shape.headSize ?? hidden / heads;
  const of = (name: string): ArrayLike<number> => {
    const found = weights.get(name);
    if (found === undefined) throw new Error(`no weight ${name}`);
    return found;
  };
  const linear = (name: string, x: readonly number[]): number[] => {
    const weight = of(`${name}.weight`);
    const bias = weights.get(`${name}.bias`);
    return Array.from({ length: weight.length / x.length }, (_, row) => dot(weight, row, x) + (bias?.[row] ?? 0));
  };
  const norm = (name: string, x: readonly number[]): number[] => {
    const weight = of(`${name}.weight`);
    const mean = x.reduce((sum, value) => sum + value * value, 0) / x.length;
    return x.map((value, i) => (value / Math.sqrt(mean + rmsNormEps)) * weight[i]);
  };
  const perHead = (x: readonly number[], change: (head: number[]) => number[]): number[] =>
    Array.from({ length: x.length / D }, (_, head) => change(x.slice(head * D, (head + 1) * D))).flat();
  const rotated = (x: readonly number[], position: number): number[] =>
    perHead(x, (head) =>
      head.map((value, i) => {
        const pair = i % (D / 2);
        const angle = position * shape.frequencies[pair];
        const [cos, sin] = [shape.amplitude * Math.cos(angle), shape.amplitude * Math.sin(angle)];
        return i < D / 2 ? value * cos - head[i + D / 2] * sin : value * cos + head[i - D / 2] * sin;
      }),
    );

  const cached = Array.from({ length: layers }, () => ({ k: [] as number[][], v: [] as number[][] }));
  return tokens.map((token, position) => {
    const embedding = of("model.embed_tokens.weight");
    let x = Array.from({ length: hidden }, (_, i) => embedding[token * hidden + i]);
    for (let layer = 0; layer < layers; layer++) {
      const name = (part: string): string => `model.layers.${layer}.${part}`;
      const h = norm(name("input_layernorm"), x);
      const normed = (part: string, y: number[]): number[] =>
        shape.qkNorm === true ? perHead(y, (head) => norm(name(`self_attn.${part}`), head)) : y;
      const q = rotated(normed("q_norm", linear(name("self_attn.q_proj"), h)), position);
      cached[layer].k.push(rotated(normed("k_norm", linear(name("self_attn.k_proj"), h)), position));
      cached[layer].v.push(linear(name("self_attn.v_proj"), h));
      const attended: number[] = [];
      for (let head = 0; head < heads; head++) {
        const from = Math.floor(head / (heads / kvHeads)) * D;
        const own = q.slice(head * D, (head + 1) * D);
        const first = Math.max(0, position + 1 - (shape.windows?.[layer] ?? Infinity));
        const scores = cached[layer].k
          .slice(first)
          .map((k) => own.reduce((sum, value, i) => sum + value * k[from + i], 0) / Math.sqrt(D));
        const top = Math.max(...scores);
        const e = scores.map((score) => Math.exp(score - top));
        const total = e.reduce((sum, value) => sum + value, 0);
        for (let i = 0; i < D; i++) {
          attended.push(e.reduce((sum, p, j) => sum + (p / total) * cached[layer].v[first + j][from + i], 0));
        }
      }
      const afterAttention = linear(name("self_attn.o_proj"), attended).map((value, i) => value + x[i]);
      const h2 = norm(name("post_attention_layernorm"), afterAttention);
      const up = linear(name("mlp.up_proj"), h2);
      const act = linear(name("mlp.gate_proj"), h2).map((gate, i) => (gate / (1 + Math.exp(-gate))) * up[i]);
      x = linear(name("mlp.down_proj"), act).map((value, i) => value + afterAttention[i]);
    }
    const last = norm("model.norm", x);
    const head = weights.get("lm_head.weight") ?? embedding;
    return Array.from({ length: vocabulary }, (_, row) => dot(head, row, last));
  });
}
