/**
 * The training pass of a transformer: forward with everything kept that its backward needs.
 *
 * A batch is worked on in stretches, one after the other: whole trees, few enough that what one op wrote is still in the cache
 * when the next one reads it. A row's activations do not depend on the stretch it is in; the gradients of the weights are
 * added stretch by stretch.
 */

import type { Batch } from "../batch.ts";
import type { Numbers, PlacedOps } from "../ops/device-ops.ts";
import type { AttentionShape } from "../ops/ops.ts";
import { copyNumbers } from "../ops/storage.ts";
import type { Weight } from "../parameters.ts";
import type { ResolvedConfig } from "./transformer-config.ts";
import type { Workspace } from "./workspace.ts";

/** A product with a weight `[O, I]` and, where the model has one, a bias `[O]`. */
export interface Projection {
  readonly weight: Weight;
  readonly bias: Weight | undefined;
}

/** One layer: its parameters, and what of it differs from layer to layer. */
export interface Block {
  /** tokens that one sees; undefined: all */
  readonly window: number | undefined;
  readonly inputNorm: Weight;
  readonly q: Projection;
  readonly k: Projection;
  readonly v: Projection;
  readonly o: Projection;
  /** `[D]` of models that normalise queries and keys */
  readonly qNorm: Weight | undefined;
  readonly kNorm: Weight | undefined;
  readonly postNorm: Weight;
  readonly gate: Projection;
  readonly up: Projection;
  readonly down: Projection;
}

/** What a pass reads, and the memory it works in. */
export interface Model {
  readonly ops: PlacedOps;
  readonly config: ResolvedConfig;
  readonly embedding: Weight;
  readonly positions: Weight | undefined;
  readonly blocks: readonly Block[];
  readonly norm: Weight;
  readonly head: Weight;
  /** `[maxPositions, D / 2]` */
  readonly cosines: Numbers;
  readonly sines: Numbers;
  readonly workspace: Workspace;
  /** whether the backward of a layer computes again what its forward left: of a pass only the layers' inputs are kept */
  readonly recompute: boolean;
}

/** Positions `begin … end` of a batch of `T`: whole trees. `subtreeEnd` counts from `begin`. */
export interface Stretch extends Pick<Batch, "tokens" | "depth" | "subtreeEnd"> {
  readonly begin: number;
  readonly end: number;
  readonly T: number;
}

/** Numbers in the widest activation of a stretch: 4 MiB, a few of which fit beside each other into a shared cache. */
const stretchFloats = 2 ** 20;
/** Below this a product of matrices spends its time on the weight alone. */
const fewestRows = 512;

/** Positions after which a stretch ends with its tree. */
export function stretchLength({ hidden, heads, headSize, intermediate }: ResolvedConfig): number {
  return Math.max(fewestRows, Math.floor(stretchFloats / Math.max(hidden, heads * headSize, intermediate)));
}

/** Cuts a batch where a tree ends, when at least `length` positions have come together. */
export function stretchesOf(batch: Pick<Batch, "tokens" | "depth" | "subtreeEnd">, length: number): Stretch[] {
  const { tokens, depth, subtreeEnd } = batch;
  const T = tokens.length;
  const stretches: Stretch[] = [];
  for (let begin = 0, end = 0; begin < T; begin = end) {
    while (end < T && end - begin < length) end = subtreeEnd[end];
    stretches.push({
      begin,
      end,
      T,
      tokens: tokens.subarray(begin, end),
      depth: depth.subarray(begin, end),
      subtreeEnd: subtreeEnd.slice(begin, end).map((position) => position - begin),
    });
  }
  return stretches;
}

/** What the forward of a layer leaves for its backward; `x` is the layer's input. */
function keptOf({ config, workspace, recompute }: Model, { begin, end, T }: Stretch, layer: number) {
  const { hidden: H, intermediate: F, heads, headSize: D, kvHeads } = config;
  const ofPass = (name: string, width: number): Numbers =>
    workspace.take(`${name}.${layer}`, T * width).subarray(begin * width, end * width);
  const scratch = (name: string, width: number): Numbers => workspace.take(name, (end - begin) * width);
  const rows = recompute ? scratch : ofPass;
  return {
    x: ofPass("x", H),
    rrms1: rows("rrms1", 1),
    h1: rows("h1", H),
    q: rows("q", heads * D),
    k: rows("k", kvHeads * D),
    // Before their norms, where the model has them.
    rawQ: config.qkNorm ? rows("rawQ", heads * D) : undefined,
    rawK: config.qkNorm ? rows("rawK", kvHeads * D) : undefined,
    rrmsQ: config.qkNorm ? rows("rrmsQ", heads) : undefined,
    rrmsK: config.qkNorm ? rows("rrmsK", kvHeads) : undefined,
    v: rows("v", kvHeads * D),
    lse: rows("lse", heads),
    attended: rows("attended", heads * D),
    x2: rows("x2", H),
    rrms2: rows("rrms2", 1),
    h2: rows("h2", H),
    gate: rows("gate", F),
    up: rows("up", F),
    act: rows("act", F),
  };
}

/** The same of the final norm. */
function lastOf({ config, workspace }: Model, { begin, end, T }: Stretch) {
  const { hidden: H, layers } = config;
  return {
    x: workspace.take(`x.${layers}`, T * H).subarray(begin * H, end * H),
    normed: workspace.take("normed", T * H).subarray(begin * H, end * H),
    rrms: workspace.take("rrms", T).subarray(begin, end),
  };
}

/** The shape of a layer's attention. */
export const attentionShape = (
  { heads, kvHeads, headSize }: ResolvedConfig,
  { window }: Pick<Block, "window">,
): AttentionShape => ({ heads, kvHeads, headSize, scale: 1 / Math.sqrt(headSize), ...(window && { window }) });

const rotaryOf = ({ config: { headSize }, cosines, sines }: Model, { depth }: Stretch) => ({
  depth,
  headSize,
  cosines,
  sines,
});

const logitsOf = ({ config: { vocabulary: V } }: Model, { begin, end }: Stretch, logits: Numbers): Numbers =>
  logits.subarray(begin * V, end * V);

/** Writes the stretch's rows of `logits [T, V]`. */
export function forwardStretch(model: Model, stretch: Stretch, logits: Numbers): void {
  const { ops, config, blocks, norm, head } = model;
  const { layers, rmsNormEps: eps } = config;
  const rows = stretch.end - stretch.begin;
  embedTokens(model, stretch.tokens, stretch.depth, keptOf(model, stretch, 0).x);
  for (let layer = 0; layer < layers; layer++) {
    const next = layer + 1 < layers ? keptOf(model, stretch, layer + 1).x : lastOf(model, stretch).x;
    forwardLayer(model, stretch, blocks[layer], keptOf(model, stretch, layer), next);
  }
  const { x, normed, rrms } = lastOf(model, stretch);
  ops.rmsNorm({ x, weight: norm.data, eps, y: normed, rrms });
  ops.linear({ x: normed, weight: head.data, y: logitsOf(model, stretch, logits), rows });
}

export function embedTokens(
  { ops, config, embedding, positions }: Model,
  ids: Int32Array,
  depth: Int32Array,
  out: Numbers,
): void {
  const { hidden } = config;
  ops.embed({ table: embedding.data, ids, hidden, out });
  if (positions !== undefined) ops.embed({ table: positions.data, ids: depth, hidden, out, accumulate: true });
}

/** `y` (+)= the projection of `x`. */
export function project(
  ops: PlacedOps,
  { weight, bias }: Projection,
  x: Numbers,
  y: Numbers,
  rows: number,
  accumulate = false,
): void {
  ops.linear({ x, weight: weight.data, y, rows, accumulate, ...(bias && { bias: bias.data }) });
}

/** Normalises every head of `x [rows, heads, D]` into `y`; nothing where the model does not. */
export function normHeads(
  { ops, config }: Pick<Model, "ops" | "config">,
  norm: Weight | undefined,
  x: Numbers | undefined,
  y: Numbers,
  rrms: Numbers | undefined,
): void {
  if (norm === undefined || x === undefined || rrms === undefined) return;
  ops.rmsNorm({ x, weight: norm.data, eps: config.rmsNormEps, y, rrms });
}

type Kept = ReturnType<typeof keptOf>;

function forwardLayer(model: Model, stretch: Stretch, block: Block, kept: Kept, next: Numbers): void {
  const { ops, config } = model;
  const { heads, kvHeads, rmsNormEps: eps } = config;
  const { x, h1, q, k, v, attended, lse, x2, h2, gate, up, act } = kept;
  const rows = stretch.end - stretch.begin;
  const rotary = rotaryOf(model, stretch);
  ops.rmsNorm({ x, weight: block.inputNorm.data, eps, y: h1, rrms: kept.rrms1 });
  project(ops, block.q, h1, kept.rawQ ?? q, rows);
  project(ops, block.k, h1, kept.rawK ?? k, rows);
  project(ops, block.v, h1, v, rows);
  normHeads(model, block.qNorm, kept.rawQ, q, kept.rrmsQ);
  normHeads(model, block.kNorm, kept.rawK, k, kept.rrmsK);
  ops.rope({ x: q, heads, ...rotary });
  ops.rope({ x: k, heads: kvHeads, ...rotary });
  ops.treeAttention({
    q,
    k,
    v,
    out: attended,
    lse,
    subtreeEnd: stretch.subtreeEnd,
    ...attentionShape(config, block),
  });
  copyNumbers(x, x2);
  project(ops, block.o, attended, x2, rows, true);
  ops.rmsNorm({ x: x2, weight: block.postNorm.data, eps, y: h2, rrms: kept.rrms2 });
  project(ops, block.gate, h2, gate, rows);
  project(ops, block.up, h2, up, rows);
  ops.swiglu({ gate, up, out: act });
  copyNumbers(x2, next);
  project(ops, block.down, act, next, rows, true);
}

/** Adds the stretch's share of every parameter's gradient for `dlogits [T, V]`. */
export function backwardStretch(model: Model, stretch: Stretch, dlogits: Numbers): void {
  const { ops, config, embedding, positions, blocks, norm, head, workspace } = model;
  const { hidden: H, layers } = config;
  const rows = stretch.end - stretch.begin;
  const dx = workspace.take("dx", rows * H);
  const dh = workspace.take("dh", rows * H);
  const { x, normed, rrms } = lastOf(model, stretch);
  const dy = logitsOf(model, stretch, dlogits);
  ops.linearBackward({ x: normed, weight: head.data, dy, rows, dx: dh, dweight: head.grad });
  ops.rmsNormBackward({ x, weight: norm.data, rrms, dy: dh, dx, dweight: norm.grad });
  for (let layer = layers - 1; layer >= 0; layer--) {
    const kept = keptOf(model, stretch, layer);
    // Its output is known: what it writes there goes into scratch.
    if (model.recompute) forwardLayer(model, stretch, blocks[layer], kept, workspace.take("again", rows * H));
    backwardLayer(model, stretch, blocks[layer], kept, dx, dh);
  }
  ops.embedBackward({ ids: stretch.tokens, hidden: H, dout: dx, dtable: embedding.grad });
  if (positions !== undefined) {
    ops.embedBackward({ ids: stretch.depth, hidden: H, dout: dx, dtable: positions.grad });
  }
}

/** Turns the gradient `dx` of the layer's output into that of its input; `dh` is scratch of the same shape. */
function backwardLayer(model: Model, stretch: Stretch, block: Block, kept: Kept, dx: Numbers, dh: Numbers): void {
  const { ops, config, workspace } = model;
  const { intermediate: F, heads, kvHeads, headSize: D } = config;
  const { x, rrms1, h1, q, k, v, lse, attended, x2, rrms2, h2, gate, up, act } = kept;
  const rows = stretch.end - stretch.begin;
  const rotary = rotaryOf(model, stretch);
  const through = (
    input: Numbers,
    { weight, bias }: Projection,
    dy: Numbers,
    into: Numbers,
    accumulate = false,
  ): void =>
    ops.linearBackward({
      x: input,
      weight: weight.data,
      dy,
      rows,
      dx: into,
      dweight: weight.grad,
      ...(bias && { dbias: bias.grad }),
      accumulate,
    });
  const throughNorm = (input: Numbers, rrms: Numbers, { data, grad }: Weight): void =>
    ops.rmsNormBackward({ x: input, weight: data, rrms, dy: dh, dx, dweight: grad, accumulate: true });

  const dact = workspace.take("dact", rows * F);
  through(act, block.down, dx, dact);
  ops.swigluBackward({ gate, up, dout: dact, dgate: gate, dup: up });
  through(h2, block.gate, gate, dh);
  through(h2, block.up, up, dh, true);
  throughNorm(x2, rrms2, block.postNorm);

  const dattended = workspace.take("dattended", rows * heads * D);
  const dq = workspace.take("dq", rows * heads * D);
  const dk = workspace.take("dk", rows * kvHeads * D);
  const dv = workspace.take("dv", rows * kvHeads * D);
  through(attended, block.o, dx, dattended);
  ops.treeAttentionBackward({
    q,
    k,
    v,
    out: attended,
    lse,
    dout: dattended,
    dq,
    dk,
    dv,
    subtreeEnd: stretch.subtreeEnd,
    ...attentionShape(config, block),
  });
  ops.ropeBackward({ x: dq, heads, ...rotary });
  ops.ropeBackward({ x: dk, heads: kvHeads, ...rotary });
  throughHeads(model, block.qNorm, kept.rawQ, kept.rrmsQ, dq);
  throughHeads(model, block.kNorm, kept.rawK, kept.rrmsK, dk);
  through(h1, block.q, dq, dh);
  through(h1, block.k, dk, dh, true);
  through(h1, block.v, dv, dh, true);
  throughNorm(x, rrms1, block.inputNorm);
}

/** The gradient of `normHeads`, in place of that of its output. */
function throughHeads(
  { ops, workspace }: Model,
  norm: Weight | undefined,
  x: Numbers | undefined,
  rrms: Numbers | undefined,
  dy: Numbers,
): void {
  if (norm === undefined || x === undefined || rrms === undefined) return;
  const dx = workspace.take("dHeads", dy.length);
  ops.rmsNormBackward({ x, weight: norm.data, rrms, dy, dx, dweight: norm.grad });
  copyNumbers(dx, dy);
}
