/** Logits at the nodes of a tree of prefixes, for sampling: a token goes through the layers once, whoever asks for it. */

import type { Numbers } from "../ops/device-ops.ts";
import { PrefixCache } from "./prefix-cache.ts";
import { attentionShape, embedTokens, normHeads, project, type Model } from "./transformer-pass.ts";

export class TransformerDecoder {
  readonly #model: Model;
  readonly #cache: PrefixCache;
  /** nodes of the cache whose keys, values and hidden states are there */
  #cached = 0;
  #computedTokens = 0;

  constructor(model: Model) {
    this.#model = model;
    const { kvHeads, headSize, hidden, vocabulary } = model.config;
    const widths = model.blocks.flatMap(() => [kvHeads * headSize, kvHeads * headSize]);
    this.#cache = new PrefixCache(model.ops, vocabulary, [...widths, hidden]);
  }

  /** Tokens that went through the layers since the decoder was made. */
  get computedTokens(): number {
    return this.#computedTokens;
  }

  /** Forgets what was computed, with weights that have changed since. */
  clear(): void {
    this.#cache.clear();
    this.#cached = 0;
  }

  /** Gives memory on a device back; the decoder cannot be used any more. */
  dispose(): void {
    this.clear();
    this.#cache.dispose();
  }

  /** The node of `token` after `parent`, −1 for a beginning. */
  child(parent: number, token: number): number {
    return this.#cache.child(parent, token);
  }

  /** Logits `[nodes, V]` after each of the distinct nodes. */
  logits(nodes: Int32Array): Numbers {
    if (this.#cached < this.#cache.length) this.#computeFrom(this.#cached);
    const { ops, config, head, workspace } = this.#model;
    const { hidden, layers, vocabulary } = config;
    const normed = workspace.take("decode.normed", nodes.length * hidden);
    ops.embed({ table: this.#cache.store(2 * layers), ids: nodes, hidden, out: normed });
    const logits = workspace.take("decode.logits", nodes.length * vocabulary);
    ops.linear({ x: normed, weight: head.data, y: logits, rows: nodes.length });
    return logits;
  }

  /** Reads the nodes that were added since the last call: their keys and values go straight into the cache. */
  #computeFrom(from: number): void {
    const { ops, config, workspace, cosines, sines, norm } = this.#model;
    const cache = this.#cache;
    const to = cache.length;
    const R = to - from;
    const { hidden: H, intermediate: F, heads, headSize: D, kvHeads, layers, qkNorm, rmsNormEps: eps } = config;
    const width = heads * D;
    const take = (name: string, length: number): Numbers => workspace.take(`decode.${name}`, length);
    const depth = cache.depths(from, to);
    const paths = cache.paths(from, to);
    const rotary = { depth, headSize: D, cosines, sines };

    const x = take("x", R * H);
    const h = take("h", R * H);
    const rrms = take("rrms", R);
    const headRrms = qkNorm ? take("headRrms", R * heads) : undefined;
    const q = take("q", R * width);
    const raw = qkNorm ? { q: take("rawQ", R * width), k: take("rawK", R * kvHeads * D) } : undefined;
    const attended = take("attended", R * width);
    const gate = take("gate", R * F);
    const up = take("up", R * F);
    embedTokens(this.#model, cache.tokens(from, to), depth, x);
    this.#model.blocks.forEach((block, layer) => {
      const k = cache.slice(2 * layer, from, to);
      const v = cache.slice(2 * layer + 1, from, to);
      ops.rmsNorm({ x, weight: block.inputNorm.data, eps, y: h, rrms });
      project(ops, block.q, h, raw?.q ?? q, R);
      project(ops, block.k, h, raw?.k ?? k, R);
      project(ops, block.v, h, v, R);
      normHeads(this.#model, block.qNorm, raw?.q, q, headRrms?.subarray(0, R * heads));
      normHeads(this.#model, block.kNorm, raw?.k, k, headRrms?.subarray(0, R * kvHeads));
      ops.rope({ x: q, heads, ...rotary });
      ops.rope({ x: k, heads: kvHeads, ...rotary });
      ops.decodeAttention({
        q,
        keys: cache.store(2 * layer),
        values: cache.store(2 * layer + 1),
        out: attended,
        ...attentionShape(config, block),
        ...paths,
      });
      project(ops, block.o, attended, x, R, true);
      ops.rmsNorm({ x, weight: block.postNorm.data, eps, y: h, rrms });
      project(ops, block.gate, h, gate, R);
      project(ops, block.up, h, up, R);
      ops.swiglu({ gate, up, out: gate });
      project(ops, block.down, gate, x, R, true);
    });
    ops.rmsNorm({ x, weight: norm.data, eps, y: cache.slice(2 * layers, from, to), rrms });
    this.#cached = to;
    this.#computedTokens += R;
  }
}
