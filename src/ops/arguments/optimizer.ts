/** Arguments of the optimizer ops. */

import type { Floats } from "./values.ts";

export interface AdamwArguments {
  /** `[count]` in place */
  readonly params: Floats;
  readonly grads: Floats;
  /** first moment, in place */
  readonly m: Floats;
  /** second moment, in place */
  readonly v: Floats;
  /** 1 for the first step */
  readonly step: number;
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** multiplies the gradient (clipping by global norm) */
  readonly gradScale: number;
}
