/** Arguments of the model ops. */

import type { Floats, Values } from "./values.ts";

export interface LinearArguments {
  /** `[T, I]` */
  readonly x: Floats;
  /** `[O, I]` */
  readonly weight: Values;
  /** `[O]` */
  readonly bias?: Floats;
  /** `[T, O]` */
  readonly y: Floats;
  /** T */
  readonly rows: number;
  /** add to y */
  readonly accumulate?: boolean;
}

export interface LinearBackwardArguments {
  readonly x: Floats;
  readonly weight: Values;
  /** `[T, O]` */
  readonly dy: Floats;
  readonly rows: number;
  /** `[T, I]` */
  readonly dx?: Floats;
  /** `[O, I]` added to */
  readonly dweight?: Floats;
  /** `[O]` added to */
  readonly dbias?: Floats;
  /** add to dx */
  readonly accumulate?: boolean;
}

export interface RopeArguments {
  /** `[T, heads, D]` */
  readonly x: Floats;
  /** `[T]` */
  readonly depth: Int32Array;
  readonly heads: number;
  /** `[positions, D / 2]` */
  readonly cosines: Floats;
  /** `[positions, D / 2]` */
  readonly sines: Floats;
  /** D */
  readonly headSize: number;
}

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  /** D */
  readonly headSize: number;
  /** multiplies q · k; 1 / √D as a rule */
  readonly scale: number;
  /** positions that one sees at most, itself and the nearest before it; default all of them */
  readonly window?: number;
}

export interface TreeAttentionArguments extends AttentionShape {
  /** `[T, heads, D]` */
  readonly q: Floats;
  /** `[T, kvHeads, D]` */
  readonly k: Floats;
  readonly v: Floats;
  /** `[T]` i attends to j ⇔ j ≤ i < subtreeEnd[j] */
  readonly subtreeEnd: Int32Array;
  /** `[T, heads, D]` */
  readonly out: Floats;
  /** `[T, heads]` */
  readonly lse: Floats;
}

export interface TreeAttentionBackwardArguments extends TreeAttentionArguments {
  readonly dout: Floats;
  readonly dq: Floats;
  readonly dk: Floats;
  readonly dv: Floats;
}

export interface DecodeAttentionArguments extends AttentionShape {
  /** `[R, heads, D]` */
  readonly q: Floats;
  /** `[slots, kvHeads, D]` */
  readonly keys: Floats;
  readonly values: Floats;
  /** `[R + 1]` */
  readonly slotOffsets: Int32Array;
  /** `[K]` the slots that every row sees, in order, one list after the other */
  readonly slots: Int32Array;
  /** `[R, heads, D]` */
  readonly out: Floats;
}
