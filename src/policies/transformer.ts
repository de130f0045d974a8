/**
 * A Llama-family transformer composed of ops: token embedding (and, as an option, a learned table of absolute positions),
 * blocks of RMSNorm, rotary grouped-query attention over a tree, and SwiGLU, a final norm and a head.
 *
 * Tensors have the names and layouts of Hugging Face checkpoints.
 */

import type { Batch } from "../batch.ts";
import type { Floats, Ops } from "../ops/ops.ts";
import { openOps } from "../ops/native.ts";
import type { Optimizer } from "../optimizer.ts";
import { Parameters, type Shape } from "../parameters.ts";
import type { ForwardPass, Parameter, Policy, PolicySampler, SamplingOptions } from "../policy.ts";
import { samplerOf } from "./generate.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { Workspace } from "./workspace.ts";

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

interface Block {
  readonly inputNorm: Parameter;
  readonly q: Parameter;
  readonly k: Parameter;
  readonly v: Parameter;
  readonly o: Parameter;
  readonly postNorm: Parameter;
  readonly gate: Parameter;
  readonly up: Parameter;
  readonly down: Parameter;
}

type Resolved = Required<TransformerConfig>;

function resolve(config: TransformerConfig): Resolved {
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

const embeddingName = "model.embed_tokens.weight";
const positionsName = "model.embed_positions.weight";
const finalNormName = "model.norm.weight";
const headName = "lm_head.weight";

function shapesOf(config: Resolved): Shape[] {
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

/** Standard normal numbers from a uniform generator, by Box and Muller. */
export function normals(random: () => number): () => number {
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

export interface TransformerStart {
  /** uniform in [0, 1) */
  readonly random: () => number;
  /** standard deviation of the embedding; default 0.5 */
  readonly embedding?: number;
  /** standard deviation of the head; default 0.1 */
  readonly head?: number;
  /** `[maxPositions, H]` start of the position table; default normal with deviation 0.5 */
  readonly positions?: Float32Array;
}

export class TransformerPolicy implements Policy {
  readonly ops: Ops;
  readonly config: Resolved;
  readonly #parameters: Parameters;
  readonly #blocks: readonly Block[];
  readonly #workspace: Workspace;
  readonly #cosines: Floats;
  readonly #sines: Floats;
  readonly #cache: PrefixCache;
  /** nodes of the cache whose keys, values and hidden states are there */
  #cached = 0;
  #computedTokens = 0;
  #passes = 0;

  /** A policy with all parameters 0; `create` starts one at random. */
  constructor(config: TransformerConfig, ops: Ops = openOps("cpu")) {
    this.ops = ops;
    this.config = resolve(config);
    this.#parameters = new Parameters(ops, shapesOf(this.config));
    this.#workspace = new Workspace(ops);
    this.#blocks = Array.from({ length: this.config.layers }, (_, layer) => this.#block(layer));
    const { kvHeads, headSize, hidden, vocabulary, maxPositions, ropeTheta } = this.config;
    const half = headSize / 2;
    this.#cosines = ops.allocate(maxPositions * half);
    this.#sines = ops.allocate(maxPositions * half);
    for (let position = 0; position < maxPositions; position++) {
      for (let i = 0; i < half; i++) {
        const angle = position * ropeTheta ** (-i / half);
        this.#cosines[position * half + i] = Math.cos(angle);
        this.#sines[position * half + i] = Math.sin(angle);
      }
    }
    const kvWidth = kvHeads * headSize;
    const widths = this.#blocks.flatMap(() => [kvWidth, kvWidth]);
    this.#cache = new PrefixCache(ops, vocabulary, [...widths, hidden]);
  }

  /**
   * A policy started at random: weights normal with variance 1 / fan-in, those that write to the residual stream divided by
   * √(2 · layers) besides, norms 1.
   */
  static create(config: TransformerConfig, start: TransformerStart, ops?: Ops): TransformerPolicy {
    const policy = new TransformerPolicy(config, ops);
    const { random, embedding = 0.5, head = 0.1, positions } = start;
    const normal = normals(random);
    const residual = 1 / Math.sqrt(2 * policy.config.layers);
    for (const { name, shape, data } of policy.parameters()) {
      if (shape.length === 1) {
        data.fill(1);
      } else if (name === positionsName && positions !== undefined) {
        if (positions.length !== data.length) {
          throw new RangeError(
            `TransformerPolicy: expected positions [maxPositions, H] of length ${data.length}, received ${positions.length}`,
          );
        }
        data.set(positions);
      } else {
        const scale =
          name === embeddingName || name === positionsName
            ? embedding
            : name === headName
              ? head
              : 1 / Math.sqrt(shape[1]);
        const factor = name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight") ? scale * residual : scale;
        for (let i = 0; i < data.length; i++) data[i] = factor * normal();
      }
    }
    return policy;
  }

  get vocabulary(): number {
    return this.config.vocabulary;
  }

  /** Tokens that went through the layers while sampling, since the policy was made: shared prefixes count once. */
  get computedTokens(): number {
    return this.#computedTokens;
  }

  parameters(): readonly Parameter[] {
    return this.#parameters.list;
  }

  clone(): TransformerPolicy {
    const copy = new TransformerPolicy(this.config, this.ops);
    copy.#parameters.data.set(this.#parameters.data);
    return copy;
  }

  /** Call after writing to the parameters' data by hand: forgets what was computed with the old ones. */
  changed(): void {
    this.#cache.clear();
    this.#cached = 0;
  }

  step(optimizer: Optimizer): number {
    try {
      return optimizer.step(this.ops, this.#parameters.data, this.#parameters.grad);
    } finally {
      // Also where the optimizer refuses them: a gradient that is not finite must not outlive its step.
      this.#parameters.grad.fill(0);
      this.changed();
    }
  }

  sampler(options: SamplingOptions): PolicySampler {
    return samplerOf(
      {
        ops: this.ops,
        vocabulary: this.vocabulary,
        maxPositions: this.config.maxPositions,
        child: (parent, token) => this.#cache.child(parent, token),
        logits: (nodes) => this.#logitsAt(nodes),
      },
      options,
    );
  }

  forward(batch: Pick<Batch, "tokens" | "depth" | "subtreeEnd">): ForwardPass {
    const { tokens, depth, subtreeEnd } = batch;
    const { ops } = this;
    const {
      hidden: H,
      intermediate: F,
      heads,
      headSize: D,
      kvHeads,
      layers,
      vocabulary: V,
      rmsNormEps: eps,
    } = this.config;
    const T = tokens.length;
    this.#checkDepth(depth);
    const width = heads * D;
    const kvWidth = kvHeads * D;
    const take = (name: string, length: number): Floats => this.#workspace.take(name, length);
    const attention = { heads, kvHeads, headSize: D, scale: 1 / Math.sqrt(D), subtreeEnd };
    const rotary = { depth, headSize: D, cosines: this.#cosines, sines: this.#sines };

    const kept = (layer: number) => ({
      x: take(`x${layer}`, T * H),
      rrms1: take(`rrms1.${layer}`, T),
      h1: take(`h1.${layer}`, T * H),
      q: take(`q${layer}`, T * width),
      k: take(`k${layer}`, T * kvWidth),
      v: take(`v${layer}`, T * kvWidth),
      lse: take(`lse${layer}`, T * heads),
      attended: take(`attended${layer}`, T * width),
      x2: take(`x2.${layer}`, T * H),
      rrms2: take(`rrms2.${layer}`, T),
      h2: take(`h2.${layer}`, T * H),
      gate: take(`gate${layer}`, T * F),
      up: take(`up${layer}`, T * F),
      act: take(`act${layer}`, T * F),
    });

    this.#embed(tokens, depth, take("x0", T * H));
    for (let layer = 0; layer < layers; layer++) {
      const block = this.#blocks[layer];
      const a = kept(layer);
      const next = take(`x${layer + 1}`, T * H);
      ops.rmsNorm({ x: a.x, weight: block.inputNorm.data, eps, y: a.h1, rrms: a.rrms1 });
      ops.linear({ x: a.h1, weight: block.q.data, y: a.q, rows: T });
      ops.linear({ x: a.h1, weight: block.k.data, y: a.k, rows: T });
      ops.linear({ x: a.h1, weight: block.v.data, y: a.v, rows: T });
      ops.rope({ x: a.q, heads, ...rotary });
      ops.rope({ x: a.k, heads: kvHeads, ...rotary });
      ops.treeAttention({ q: a.q, k: a.k, v: a.v, out: a.attended, lse: a.lse, ...attention });
      a.x2.set(a.x);
      ops.linear({ x: a.attended, weight: block.o.data, y: a.x2, rows: T, accumulate: true });
      ops.rmsNorm({ x: a.x2, weight: block.postNorm.data, eps, y: a.h2, rrms: a.rrms2 });
      ops.linear({ x: a.h2, weight: block.gate.data, y: a.gate, rows: T });
      ops.linear({ x: a.h2, weight: block.up.data, y: a.up, rows: T });
      ops.swiglu({ gate: a.gate, up: a.up, out: a.act });
      next.set(a.x2);
      ops.linear({ x: a.act, weight: block.down.data, y: next, rows: T, accumulate: true });
    }
    const last = take(`x${layers}`, T * H);
    const normed = take("normed", T * H);
    const rrms = take("rrms", T);
    const norm = this.#parameters.get(finalNormName);
    const head = this.#head();
    const logits = take("logits", T * V);
    ops.rmsNorm({ x: last, weight: norm.data, eps, y: normed, rrms });
    ops.linear({ x: normed, weight: head.data, y: logits, rows: T });

    const pass = ++this.#passes;
    const backward = (dlogits: Floats): void => {
      if (pass !== this.#passes) {
        throw new Error(
          "TransformerPolicy: expected backward right after its forward, received one after another forward",
        );
      }
      const dx = take("dx", T * H);
      const dh = take("dh", T * H);
      ops.linearBackward({ x: normed, weight: head.data, dy: dlogits, rows: T, dx: dh, dweight: head.grad });
      ops.rmsNormBackward({ x: last, weight: norm.data, rrms, dy: dh, dx, dweight: norm.grad });
      for (let layer = layers - 1; layer >= 0; layer--) {
        const block = this.#blocks[layer];
        const a = kept(layer);
        const dact = take("dact", T * F);
        const back = (x: Floats, { data, grad }: Parameter, dy: Floats, into: Floats, accumulate = false) =>
          ops.linearBackward({ x, weight: data, dy, rows: T, dx: into, dweight: grad, accumulate });

        back(a.act, block.down, dx, dact);
        ops.swigluBackward({ gate: a.gate, up: a.up, dout: dact, dgate: a.gate, dup: a.up });
        back(a.h2, block.gate, a.gate, dh);
        back(a.h2, block.up, a.up, dh, true);
        ops.rmsNormBackward({
          x: a.x2,
          weight: block.postNorm.data,
          rrms: a.rrms2,
          dy: dh,
          dx,
          dweight: block.postNorm.grad,
          accumulate: true,
        });

        const dattended = take("dattended", T * width);
        const dq = take("dq", T * width);
        const dk = take("dk", T * kvWidth);
        const dv = take("dv", T * kvWidth);
        back(a.attended, block.o, dx, dattended);
        ops.treeAttentionBackward({
          q: a.q,
          k: a.k,
          v: a.v,
          out: a.attended,
          lse: a.lse,
          dout: dattended,
          dq,
          dk,
          dv,
          ...attention,
        });
        ops.ropeBackward({ x: dq, heads, ...rotary });
        ops.ropeBackward({ x: dk, heads: kvHeads, ...rotary });
        back(a.h1, block.q, dq, dh);
        back(a.h1, block.k, dk, dh, true);
        back(a.h1, block.v, dv, dh, true);
        ops.rmsNormBackward({
          x: a.x,
          weight: block.inputNorm.data,
          rrms: a.rrms1,
          dy: dh,
          dx,
          dweight: block.inputNorm.grad,
          accumulate: true,
        });
      }
      ops.embedBackward({ ids: tokens, hidden: H, dout: dx, dtable: this.#parameters.get(embeddingName).grad });
      if (this.config.positionTable) {
        ops.embedBackward({ ids: depth, hidden: H, dout: dx, dtable: this.#parameters.get(positionsName).grad });
      }
    };
    return { logits, backward };
  }

  #block(layer: number): Block {
    const of = (name: string): Parameter => this.#parameters.get(`model.layers.${layer}.${name}.weight`);
    return {
      inputNorm: of("input_layernorm"),
      q: of("self_attn.q_proj"),
      k: of("self_attn.k_proj"),
      v: of("self_attn.v_proj"),
      o: of("self_attn.o_proj"),
      postNorm: of("post_attention_layernorm"),
      gate: of("mlp.gate_proj"),
      up: of("mlp.up_proj"),
      down: of("mlp.down_proj"),
    };
  }

  #head(): Parameter {
    return this.#parameters.get(this.config.tieEmbeddings ? embeddingName : headName);
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

  #embed(tokens: Int32Array, depth: Int32Array, x: Floats): void {
    const { hidden } = this.config;
    this.ops.embed({ table: this.#parameters.get(embeddingName).data, ids: tokens, hidden, out: x });
    if (this.config.positionTable) {
      const table = this.#parameters.get(positionsName).data;
      this.ops.embed({ table, ids: depth, hidden, out: x, accumulate: true });
    }
  }

  #logitsAt(nodes: Int32Array): Floats {
    if (this.#cached < this.#cache.length) this.#computeFrom(this.#cached);
    const { hidden, layers, vocabulary } = this.config;
    const normed = this.#workspace.take("decode.normed", nodes.length * hidden);
    this.ops.embed({ table: this.#cache.store(2 * layers), ids: nodes, hidden, out: normed });
    const logits = this.#workspace.take("decode.logits", nodes.length * vocabulary);
    this.ops.linear({ x: normed, weight: this.#head().data, y: logits, rows: nodes.length });
    return logits;
  }

  /** Reads the nodes that were added since the last call: their keys and values go straight into the cache. */
  #computeFrom(from: number): void {
    const { ops } = this;
    const cache = this.#cache;
    const to = cache.length;
    const R = to - from;
    const { hidden: H, intermediate: F, heads, headSize: D, kvHeads, layers, rmsNormEps: eps } = this.config;
    const width = heads * D;
    const take = (name: string, length: number): Floats => this.#workspace.take(`decode.${name}`, length);
    const depth = cache.depths(from, to);
    const paths = cache.paths(from, to);
    const rotary = { depth, headSize: D, cosines: this.#cosines, sines: this.#sines };

    const x = take("x", R * H);
    const h = take("h", R * H);
    const rrms = take("rrms", R);
    const q = take("q", R * width);
    const attended = take("attended", R * width);
    const gate = take("gate", R * F);
    const up = take("up", R * F);
    this.#embed(cache.tokens(from, to), depth, x);
    this.#blocks.forEach((block, layer) => {
      const k = cache.slice(2 * layer, from, to);
      const v = cache.slice(2 * layer + 1, from, to);
      ops.rmsNorm({ x, weight: block.inputNorm.data, eps, y: h, rrms });
      ops.linear({ x: h, weight: block.q.data, y: q, rows: R });
      ops.linear({ x: h, weight: block.k.data, y: k, rows: R });
      ops.linear({ x: h, weight: block.v.data, y: v, rows: R });
      ops.rope({ x: q, heads, ...rotary });
      ops.rope({ x: k, heads: kvHeads, ...rotary });
      ops.decodeAttention({
        q,
        keys: cache.store(2 * layer),
        values: cache.store(2 * layer + 1),
        out: attended,
        heads,
        kvHeads,
        headSize: D,
        scale: 1 / Math.sqrt(D),
        ...paths,
      });
      ops.linear({ x: attended, weight: block.o.data, y: x, rows: R, accumulate: true });
      ops.rmsNorm({ x, weight: block.postNorm.data, eps, y: h, rrms });
      ops.linear({ x: h, weight: block.gate.data, y: gate, rows: R });
      ops.linear({ x: h, weight: block.up.data, y: up, rows: R });
      ops.swiglu({ gate, up, out: gate });
      ops.linear({ x: gate, weight: block.down.data, y: x, rows: R, accumulate: true });
    });
    const norm = this.#parameters.get(finalNormName);
    ops.rmsNorm({ x, weight: norm.data, eps, y: cache.slice(2 * layers, from, to), rrms });
    this.#cached = to;
    this.#computedTokens += R;
  }
}
