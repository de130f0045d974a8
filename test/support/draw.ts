/**
 * Trees as text. One line per node, two spaces of indent per level, the prompt first; after an arrow the leaves that end
 * there:
 *
 *     1 2
 *       3 4
 *         5 → 1
 *         6 → 0, 0
 *         7 → 1 repair of 1
 *       8 → ?
 *
 * A leaf is `[#index] outcome [rollout | recorded | repair | critique | search] [of corrected leaf]`; the outcome `?` is unverified and
 * `…` not judged yet. Without `#`, leaves are numbered in the order of reading.
 */

import { createTree, path, type Leaf, type LeafSource, type Problem, type Tree } from "../../src/trajectory/index.ts";

const leafPattern = /^(?:#(\d+) )?(\S+)(?: (rollout|recorded|repair|critique|search))?(?: of (\d+))?$/;

export function draw(text: string, problem: Partial<Problem> = {}): Tree {
  const rows = text.split("\n").filter((row) => row.trim() !== "");
  const margin = rows[0].search(/\S/);
  const prompt = parseTokens(rows[0].split("→")[0]);
  const tree = createTree({ id: "drawn", ...problem, prompt });
  const leaves: { index: number; leaf: Leaf }[] = [];
  const open = [0];
  rows.forEach((row, r) => {
    const [tokens, marks] = row.split("→");
    const level = (row.search(/\S/) - margin) / 2;
    if (!Number.isInteger(level) || level > open.length || (level === 0) !== (r === 0)) {
      throw new Error(`draw: expected an indent of 2 spaces per level: ${row}`);
    }
    open.length = Math.max(level, 1);
    if (level > 0) {
      const parent = open[level - 1];
      const node = tree.steps.push({ parent, tokens: parseTokens(tokens), children: [] }) - 1;
      tree.steps[parent].children.push(node);
      open[level] = node;
    }
    for (const mark of marks?.split(",") ?? []) leaves.push(parseLeaf(mark.trim(), open[level], leaves.length));
  });
  for (const { leaf } of leaves.toSorted((a, b) => a.index - b.index)) tree.leaves.push(leaf);
  return tree;
}

function parseTokens(text: string): number[] {
  return text.trim() === "" ? [] : text.trim().split(/\s+/).map(Number);
}

function parseLeaf(text: string, step: number, next: number): { index: number; leaf: Leaf } {
  const match = leafPattern.exec(text);
  if (match === null) throw new Error(`draw: expected a leaf such as "#3 1 repair of 0": ${text}`);
  const [, index, outcome, source, corrects] = match;
  return {
    index: index === undefined ? next : Number(index),
    leaf: {
      step,
      source: (source ?? "rollout") as LeafSource,
      corrects: corrects === undefined ? -1 : Number(corrects),
      outcome: outcome === "…" ? undefined : outcome === "?" ? Number.NaN : Number(outcome),
    },
  };
}

/** The drawing of a tree, with the index of every leaf; `draw` reads it back. */
export function drawing(tree: Tree): string {
  const rows: string[] = [];
  const visit = (node: number): void => {
    const { tokens, children } = tree.steps[node];
    const leaves = tree.leaves.flatMap((leaf, l) => (leaf.step === node ? [drawLeaf(leaf, l)] : []));
    const marks = leaves.length === 0 ? "" : ` → ${leaves.join(", ")}`;
    rows.push(`${"  ".repeat(node === 0 ? 0 : path(tree, node).length)}${tokens.join(" ")}${marks}`);
    children.forEach(visit);
  };
  visit(0);
  return rows.join("\n");
}

function drawLeaf(leaf: Leaf, index: number): string {
  const outcome = leaf.outcome === undefined ? "…" : Number.isNaN(leaf.outcome) ? "?" : String(leaf.outcome);
  const source = leaf.source === "rollout" ? "" : ` ${leaf.source}`;
  return `#${index} ${outcome}${source}${leaf.corrects < 0 ? "" : ` of ${leaf.corrects}`}`;
}

/** A drawing without the indent that it has in a test. */
export function dedent(text: string): string {
  const rows = text.split("\n").filter((row) => row.trim() !== "");
  const margin = rows[0].search(/\S/);
  return rows.map((row) => row.slice(margin).trimEnd()).join("\n");
}
