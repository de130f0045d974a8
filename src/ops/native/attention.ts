/** Plans of attention over trees and over cached paths. */

import { Check } from "../check.ts";
import type { AttentionShape, TreeAttentionArguments } from "../ops.ts";
import { call, nothing, type KernelPlans } from "./call.ts";

/** A window that no path is longer than. */
const everything = 2 ** 31;

export function attentionPlans(): Pick<KernelPlans, "treeAttention" | "treeAttentionBackward" | "decodeAttention"> {
  return {
    treeAttention(args) {
      return call("tree_attention", treeFields(new Check("treeAttention"), args), nothing);
    },

    treeAttentionBackward(args) {
      const check = new Check("treeAttentionBackward");
      const fields = treeFields(check, args);
      return call(
        "tree_attention_backward",
        {
          ...fields,
          dout: check.floats("dout", "[T, heads, D]", args.dout, args.q.length),
          dq: check.floats("dq", "[T, heads, D]", args.dq, args.q.length),
          dk: check.floats("dk", "[T, kvHeads, D]", args.dk, args.k.length),
          dv: check.floats("dv", "[T, kvHeads, D]", args.dv, args.k.length),
        },
        nothing,
      );
    },

    decodeAttention(args) {
      const check = new Check("decodeAttention");
      const shape = attentionFields(check, args);
      const slots = check.ints("slots", "[K]", args.slots);
      const slotOffsets = check.offsets("slotOffsets", "[R + 1]", args.slotOffsets, slots.length);
      const R = slotOffsets.length - 1;
      const keys = check.floats("keys", "[slots, kvHeads, D]", args.keys);
      const cached = check.rows("keys", "[slots, kvHeads, D]", keys.length, shape.kvHeads * shape.D);
      check.range("slots", "[K]", slots, 0, cached - 1);
      for (let r = 0; r < R; r++) {
        if (slotOffsets[r] === slotOffsets[r + 1]) check.fail("every row to see at least one slot", `none in row ${r}`);
      }
      return call(
        "decode_attention",
        {
          R,
          K: slots.length,
          cached,
          ...shape,
          q: check.floats("q", "[R, heads, D]", args.q, R * shape.heads * shape.D),
          keys,
          values: check.floats("values", "[slots, kvHeads, D]", args.values, keys.length),
          slotOffsets,
          slots,
          out: check.floats("out", "[R, heads, D]", args.out, R * shape.heads * shape.D),
        },
        nothing,
      );
    },
  };
}

function attentionFields(
  check: Check,
  shape: AttentionShape,
): { heads: number; kvHeads: number; D: number; window: number; scale: number } {
  const heads = check.integer("heads", shape.heads, 1);
  const kvHeads = check.integer("kvHeads", shape.kvHeads, 1);
  if (heads % kvHeads !== 0) check.fail("heads to be a multiple of kvHeads", `${heads} and ${kvHeads}`);
  const D = check.integer("headSize", shape.headSize, 1);
  const window = check.integer("window", shape.window ?? everything, 1);
  return { heads, kvHeads, D, window, scale: check.number("scale", shape.scale, "a finite number", Number.isFinite) };
}

function treeFields(check: Check, args: TreeAttentionArguments): Record<string, unknown> & { T: number } {
  const shape = attentionFields(check, args);
  const subtreeEnd = check.ints("subtreeEnd", "[T]", args.subtreeEnd);
  const T = subtreeEnd.length;
  checkNested(check, subtreeEnd);
  const width = shape.heads * shape.D;
  const kvWidth = shape.kvHeads * shape.D;
  return {
    T,
    ...shape,
    subtreeEnd,
    q: check.floats("q", "[T, heads, D]", args.q, T * width),
    k: check.floats("k", "[T, kvHeads, D]", args.k, T * kvWidth),
    v: check.floats("v", "[T, kvHeads, D]", args.v, T * kvWidth),
    out: check.floats("out", "[T, heads, D]", args.out, T * width),
    lse: check.floats("lse", "[T, heads]", args.lse, T * shape.heads),
  };
}

/** Subtrees are nested: one that begins inside another ends inside it. */
function checkNested(check: Check, subtreeEnd: Int32Array): void {
  const open: number[] = [];
  for (let t = 0; t < subtreeEnd.length; t++) {
    while (open.length > 0 && open[open.length - 1] <= t) open.pop();
    const end = subtreeEnd[t];
    const most = open.length > 0 ? open[open.length - 1] : subtreeEnd.length;
    if (end <= t || end > most) {
      check.fail(`subtreeEnd [T] at ${t} in ${t + 1} … ${most}`, String(end));
    }
    open.push(end);
  }
}
