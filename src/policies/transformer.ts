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
import { Parameters } from "../parameters.ts";
import type { ForwardPass, Parameter, Policy, PolicySampler, SamplingOptions } from "../policy.ts";
import { samplerOf } from "./generate.ts";
import { PrefixCache } from "./prefix-cache.ts";
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
  embedTokens,
  forwardStretch,
  stretchesOf,
  stretchLength,
  type Block,
  type Model,
} from "./transformer-pass.ts";
import { Workspace } from "./workspace.ts";

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

export type { TransformerConfig } from "./transformer-config.ts";

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
  readonly config: ResolvedConfig;
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
    this.config = resolveConfig(config);
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
    this.#checkDepth(batch.depth);
    const model = this.#model();
    const stretches = stretchesOf(batch, stretchLength(this.config));
    const logits = this.#workspace.take("logits", batch.tokens.length * this.vocabulary);
    for (const stretch of stretches) forwardStretch(model, stretch, logits);

    const pass = ++this.#passes;
    const backward = (dlogits: Floats): void => {
      if (pass !== this.#passes) {
        throw new Error(
          "TransformerPolicy: expected backward right after its forward, received one after another forward",
        );
      }
      for (const stretch of stretches) backwardStretch(model, stretch, dlogits);
    };
    return { logits, backward };
  }

  #model(): Model {
    return {
      ops: this.ops,
      config: this.config,
      embedding: this.#parameters.get(embeddingName),
      positions: this.config.positionTable ? this.#parameters.get(positionsName) : undefined,
      blocks: this.#blocks,
      norm: this.#parameters.get(finalNormName),
      head: this.#head(),
      cosines: this.#cosines,
      sines: this.#sines,
      workspace: this.#workspace,
    };
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
    embedTokens(this.#model(), cache.tokens(from, to), depth, x);
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
