/**
 * The bridge: trees of steps laid flat, once. From here on everything is arrays.
 *
 *   P problems · G rollouts per problem · L leaves · S credit rows · T packed token positions · N targets · V vocabulary
 */

import { shuffle } from "./random.ts";
import type { Supervision, Tree } from "./trajectory/index.ts";

export interface Batch {
  /** `[T]` depth-first: parents before children, siblings in order */
  readonly tokens: Int32Array;
  /** `[T]` position id: the distance from the root, not the packed index */
  readonly depth: Int32Array;
  /** `[T]` i may attend to j ⇔ j ≤ i < subtreeEnd[j] */
  readonly subtreeEnd: Int32Array;
  /** `[T + 1]` position t predicts `targets[targetOffsets[t] … targetOffsets[t + 1])` */
  readonly targetOffsets: Int32Array;
  /** `[N]` */
  readonly targets: Int32Array;
  /** `[N]` the credit row a target inherits; −1: none */
  readonly stepOf: Int32Array;
  /** `[S, 2]` Σ positive, Σ negative */
  readonly stepCredits: Float32Array;
  /** `[S]` the solutions whose credits a row is the sum of */
  readonly contributions: Float32Array;
  /** `[N]` the loss normaliser, one number per target; 0: absent */
  readonly weights: Float32Array;
}

export interface PackOptions {
  /**
   * What a sum over targets is divided by, over all trees of the batch:
   * - `creditedTokens` (default): the tokens with credit, counted once per solution that gave some, as if unrolled; targets
   *   without credit are absent (weight 0)
   * - `tokens`: the targets, those that `prune` drops included, so that pruning changes no weight
   * - a number: this constant
   */
  readonly normaliser?: "creditedTokens" | "tokens" | number;
  /** what `creditedTokens` divides by, where the trees are part of a larger batch: `creditedTokens` of all its trees */
  readonly creditedTokens?: number;
  /**
   * Drop the targets without credit, and the positions that neither own a target with credit nor are an ancestor of one.
   * Under a causal mask no other position is read. Default false.
   */
  readonly prune?: boolean;
}

/**
 * Lays trees flat, one after the other; each root starts at depth 0. The last token of the prompt predicts the first tokens
 * of the solutions; the rest of the prompt predicts nothing.
 *
 * @param supervisions one per tree, from `supervise`; without them no target has credit
 * @throws RangeError for no trees, a tree without leaves or without a prompt, a supervision of another tree
 */
export function pack(trees: readonly Tree[], supervisions?: readonly Supervision[], options: PackOptions = {}): Batch {
  checkTrees(trees, supervisions);
  const { normaliser = "creditedTokens", prune = false } = options;
  const divisor =
    normaliser === "creditedTokens"
      ? (options.creditedTokens ?? creditedTokens(supervisions ?? []))
      : divisorOf(trees, normaliser);
  const writer = new Writer();
  const stepCredits: number[] = [];
  const contributions: number[] = [];
  trees.forEach((tree, p) => {
    const supervision = supervisions?.[p];
    packTree(tree, supervision, prune, contributions.length, writer);
    for (const row of supervision?.credits ?? []) {
      stepCredits.push(row.positive, row.negative);
      contributions.push(row.contributions);
    }
  });
  const counts = (row: number): boolean => normaliser !== "creditedTokens" || (row >= 0 && contributions[row] > 0);
  return writer.finish(
    stepCredits,
    contributions,
    writer.stepOf.map((row) => (counts(row) ? 1 / divisor : 0)),
  );
}

function packTree(
  tree: Tree,
  supervision: Supervision | undefined,
  prune: boolean,
  firstRow: number,
  writer: Writer,
): void {
  const { steps } = tree;
  const kept = prune ? neededTokens(tree, supervision) : steps.map((step) => step.tokens.length);
  const addTarget = (node: number, t: number): void => {
    const row = supervision?.rowOf[node][t] ?? -1;
    if (row >= 0) writer.addTarget(steps[node].tokens[t], firstRow + row);
    else if (!prune) writer.addTarget(steps[node].tokens[t], -1);
  };
  // Per node: the position and the depth of its first token, and the end of its subtree.
  const starts = new Int32Array(steps.length);
  const depths = new Int32Array(steps.length);
  const ends = new Int32Array(steps.length);
  const order = depthFirst(tree);
  for (const node of order) {
    const { tokens, parent, children } = steps[node];
    starts[node] = writer.tokens.length;
    if (parent >= 0) depths[node] = depths[parent] + steps[parent].tokens.length;
    for (let t = 0; t < kept[node]; t++) {
      writer.addPosition(tokens[t], depths[node] + t);
      if (t === tokens.length - 1) children.forEach((child) => addTarget(child, 0));
      else if (parent >= 0) addTarget(node, t + 1);
    }
  }
  for (const node of order.toReversed()) {
    const last = steps[node].children.at(-1);
    ends[node] = last === undefined ? starts[node] + kept[node] : ends[last];
    writer.subtreeEnd.fill(ends[node], starts[node], starts[node] + kept[node]);
  }
}

/** Nodes in depth-first order, siblings in order. */
function depthFirst(tree: Tree): number[] {
  const order: number[] = [];
  const open = [0];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    order.push(node);
    open.push(...tree.steps[node].children.toReversed());
  }
  return order;
}

/** Per node, its leading tokens that own a target with credit or are an ancestor of one. */
function neededTokens(tree: Tree, supervision: Supervision | undefined): number[] {
  const needed = tree.steps.map(() => 0);
  const credited = tree.steps.map(() => false);
  for (let node = tree.steps.length - 1; node >= 0; node--) {
    const { tokens, parent } = tree.steps[node];
    const last = supervision?.rowOf[node].findLastIndex((row) => row >= 0) ?? -1;
    // A token is predicted from the position before it.
    needed[node] = credited[node] ? tokens.length : Math.max(last, 0);
    if (parent >= 0 && (credited[node] || last >= 0)) credited[parent] = true;
  }
  return needed;
}

/** Tokens with credit, counted once per solution that gave some, as if the trees were unrolled. */
export function creditedTokens(supervisions: readonly Supervision[]): number {
  let sum = 0;
  for (const { credits, rowOf } of supervisions) {
    for (const rows of rowOf) for (const row of rows) sum += row < 0 ? 0 : credits[row].contributions;
  }
  return sum;
}

function divisorOf(trees: readonly Tree[], normaliser: "tokens" | number): number {
  if (typeof normaliser === "number") {
    if (!(normaliser > 0 && normaliser < Infinity)) {
      throw new RangeError(`pack: expected a normaliser above 0, received ${normaliser}`);
    }
    return normaliser;
  }
  return trees.reduce((sum, tree) => sum + tokensOf(tree), 0);
}

/** Tokens of all of a tree's steps, the prompt apart. */
const tokensOf = ({ steps }: Tree): number => steps.slice(1).reduce((sum, { tokens }) => sum + tokens.length, 0);

function checkTrees(trees: readonly Tree[], supervisions: readonly Supervision[] | undefined): void {
  if (trees.length === 0) throw new RangeError("pack: expected trees [P], at least one, received none");
  if (supervisions !== undefined && supervisions.length !== trees.length) {
    throw new RangeError(`pack: expected supervisions [P] of length ${trees.length}, received ${supervisions.length}`);
  }
  trees.forEach((tree, p) => {
    const { id, prompt } = tree.problem;
    if (tree.leaves.length === 0) throw new RangeError(`pack: expected a tree with leaves, received none for ${id}`);
    if (prompt.length === 0) {
      throw new RangeError(`pack: expected a prompt of at least one token, received an empty one for ${id}`);
    }
    const rowOf = supervisions?.[p].rowOf;
    if (rowOf === undefined) return;
    if (
      rowOf.length !== tree.steps.length ||
      tree.steps.some((step, node) => step.tokens.length !== rowOf[node].length)
    ) {
      throw new RangeError(`pack: expected a supervision with a row for every token of ${id}, received another shape`);
    }
  });
}

/** Positions and their targets, in order. */
class Writer {
  readonly tokens: number[] = [];
  readonly depth: number[] = [];
  readonly subtreeEnd: number[] = [];
  readonly targetOffsets: number[] = [];
  readonly targets: number[] = [];
  readonly stepOf: number[] = [];

  addPosition(token: number, depth: number): void {
    this.tokens.push(token);
    this.depth.push(depth);
    this.subtreeEnd.push(0);
    this.targetOffsets.push(this.targets.length);
  }

  /** Of the latest position. */
  addTarget(token: number, row: number): void {
    this.targets.push(token);
    this.stepOf.push(row);
  }

  finish(stepCredits: readonly number[], contributions: readonly number[], weights: readonly number[]): Batch {
    return {
      tokens: Int32Array.from(this.tokens),
      depth: Int32Array.from(this.depth),
      subtreeEnd: Int32Array.from(this.subtreeEnd),
      targetOffsets: Int32Array.from([...this.targetOffsets, this.targets.length]),
      targets: Int32Array.from(this.targets),
      stepOf: Int32Array.from(this.stepOf),
      stepCredits: Float32Array.from(stepCredits),
      contributions: Float32Array.from(contributions),
      weights: Float32Array.from(weights),
    };
  }
}

export interface SequenceOptions {
  /** per sequence, its first token that is a target; default 1 everywhere: all but the first token */
  readonly from?: readonly number[];
  /** of every target; default 1 / N */
  readonly weight?: number;
}

/**
 * Sequences laid flat for supervised learning, without sharing and without credit: `stepOf` is −1, `stepCredits` and
 * `contributions` are empty.
 *
 * @throws RangeError for no sequences, an empty one, or a `from` outside 1 … length
 */
export function packSequences(sequences: readonly (readonly number[])[], options: SequenceOptions = {}): Batch {
  const { from, weight } = options;
  if (sequences.length === 0) throw new RangeError("packSequences: expected sequences, at least one, received none");
  if (from !== undefined && from.length !== sequences.length) {
    throw new RangeError(`packSequences: expected from of length ${sequences.length}, received ${from.length}`);
  }
  const writer = new Writer();
  sequences.forEach((sequence, b) => {
    if (sequence.length === 0) throw new RangeError(`packSequences: expected tokens, received none in sequence ${b}`);
    const first = from?.[b] ?? 1;
    if (!Number.isInteger(first) || first < 1 || first > sequence.length) {
      throw new RangeError(
        `packSequences: expected from in 1 … ${sequence.length} for sequence ${b}, received ${first}`,
      );
    }
    const end = writer.tokens.length + sequence.length;
    sequence.forEach((token, t) => {
      writer.addPosition(token, t);
      writer.subtreeEnd[writer.subtreeEnd.length - 1] = end;
      if (t + 1 >= first && t + 1 < sequence.length) writer.addTarget(sequence[t + 1], -1);
    });
  });
  const each = weight ?? 1 / writer.targets.length;
  return writer.finish(
    [],
    [],
    writer.targets.map(() => each),
  );
}

/** Tokens that follow each other without a choice, and what may follow them. */
export interface TokenTree {
  readonly tokens: readonly number[];
  /** none or at least two, in order */
  readonly children: readonly TokenTree[];
}

/** The token trees that a batch holds, one per root; chains of steps without branches are one. For tests and inspection. */
export function unpack(batch: Pick<Batch, "tokens" | "subtreeEnd">): TokenTree[] {
  const { tokens, subtreeEnd } = batch;
  const between = (start: number, end: number): TokenTree[] => {
    const trees: TokenTree[] = [];
    for (let t = start; t < end; t = subtreeEnd[t]) trees.push(from(t));
    return trees;
  };
  const from = (start: number): TokenTree => {
    const end = subtreeEnd[start];
    let t = start;
    while (t + 1 < end && subtreeEnd[t + 1] === end) t++;
    return { tokens: [...tokens.subarray(start, t + 1)], children: between(t + 1, end) };
  };
  return between(0, tokens.length);
}

export interface Minibatch {
  readonly trees: readonly Tree[];
  readonly supervisions: readonly Supervision[];
}

/**
 * Shuffles the trees that carry credit and deals them out so that each minibatch holds about `rowsPerBatch` leaves with
 * credit, in equal shares as far as whole trees allow. No credit anywhere: no minibatches.
 *
 * @param random uniform in [0, 1)
 */
export function minibatches(
  trees: readonly Tree[],
  supervisions: readonly Supervision[],
  rowsPerBatch: number,
  random: () => number,
): Minibatch[] {
  if (supervisions.length !== trees.length) {
    throw new RangeError(
      `minibatches: expected supervisions [P] of length ${trees.length}, received ${supervisions.length}`,
    );
  }
  if (!(rowsPerBatch >= 1)) throw new RangeError(`minibatches: expected rowsPerBatch ≥ 1, received ${rowsPerBatch}`);
  const order = shuffle(
    trees.flatMap((_, p) => (supervisions[p].creditedLeaves > 0 ? [p] : [])),
    random,
  );
  const rows = order.reduce((sum, p) => sum + supervisions[p].creditedLeaves, 0);
  const shares = Math.max(1, Math.round(rows / rowsPerBatch));
  const groups = Array.from({ length: shares }, (): number[] => []);
  let dealt = 0;
  for (const p of order) {
    groups[Math.floor((dealt * shares) / rows)].push(p);
    dealt += supervisions[p].creditedLeaves;
  }
  return groups
    .filter((group) => group.length > 0)
    .map((group) => ({ trees: group.map((p) => trees[p]), supervisions: group.map((p) => supervisions[p]) }));
}

/**
 * Cuts a minibatch between its trees so that each part holds at most `positions` tokens, or a single tree. The parts together
 * make the gradient of the whole where each is packed with the `creditedTokens` of all.
 */
export function partsOf(minibatch: Minibatch, positions: number): Minibatch[] {
  const parts: { trees: Tree[]; supervisions: Supervision[] }[] = [];
  let room = 0;
  minibatch.trees.forEach((tree, p) => {
    const tokens = tree.problem.prompt.length + tokensOf(tree);
    if (parts.length === 0 || tokens > room) {
      parts.push({ trees: [], supervisions: [] });
      room = positions;
    }
    const part = parts[parts.length - 1];
    part.trees.push(tree);
    part.supervisions.push(minibatch.supervisions[p]);
    room -= tokens;
  });
  return parts;
}
