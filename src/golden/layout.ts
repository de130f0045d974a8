/**
 * From padded rows to targets and back. Positions with mask 0 are left out, so nothing they hold can reach an op: the targets
 * of a sequence are its valid positions in order.
 */
import type { Floats } from "../ops/ops.ts";
import { flatten, rows, type Json } from "./vector.ts";

export interface Layout {
  /** number of sequences */
  readonly sequences: number;
  /** `[B + 1]` sequence b owns targets sequenceOffsets[b] … sequenceOffsets[b + 1) */
  readonly sequenceOffsets: Int32Array;
  /** `[N]` the row of a target */
  readonly sequenceOf: Int32Array;
  /** `[N]` the place of a target among all positions, rows one after another */
  readonly positions: Int32Array;
  /** `[B + 1]` where the rows begin among all positions */
  readonly rowOffsets: Int32Array;
}

/** The targets of a mask `[B, T]`; rows may differ in length. */
export function layoutOf(mask: readonly (readonly number[])[]): Layout {
  const sequenceOffsets = new Int32Array(mask.length + 1);
  const rowOffsets = new Int32Array(mask.length + 1);
  const positions: number[] = [];
  const sequenceOf: number[] = [];
  mask.forEach((row, b) => {
    row.forEach((valid, t) => {
      if (valid === 0) return;
      positions.push(rowOffsets[b] + t);
      sequenceOf.push(b);
    });
    rowOffsets[b + 1] = rowOffsets[b] + row.length;
    sequenceOffsets[b + 1] = positions.length;
  });
  return {
    sequences: mask.length,
    sequenceOffsets,
    sequenceOf: Int32Array.from(sequenceOf),
    positions: Int32Array.from(positions),
    rowOffsets,
  };
}

/** The layout in which every position is a target. */
export function everyPosition(layout: Layout): Layout {
  const mask = Array.from({ length: layout.sequences }, (_, b) =>
    new Array<number>(layout.rowOffsets[b + 1] - layout.rowOffsets[b]).fill(1),
  );
  return layoutOf(mask);
}

/** `[N]` the values of the targets, from rows `[B, T]`, or one value per sequence, `[B]` or `[B, 1]`. */
export function gather(layout: Layout, value: Json | undefined, where: string): Float64Array {
  const { sequences, rowOffsets, positions, sequenceOf } = layout;
  const flat = flatten(value, where);
  const width = rows(value, where).reduce((widest, row) => Math.max(widest, row.length), 0);
  if (flat.length === rowOffsets[sequences]) {
    return Float64Array.from(positions, (position) => flat[position]);
  }
  if (flat.length === sequences && width === 1) return Float64Array.from(sequenceOf, (b) => flat[b]);
  throw new Error(`expected ${where} to be [B, T], [B] or [B, 1] with B = ${sequences}, found ${flat.length} numbers`);
}

/** All positions, rows one after another: targets get their value, the rest 0. */
export function spread(layout: Layout, values: Floats): Float64Array {
  const all = new Float64Array(layout.rowOffsets[layout.sequences]);
  layout.positions.forEach((position, n) => (all[position] = values[n]));
  return all;
}
