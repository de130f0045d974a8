/** Whitening over all tokens of a batch. */
import { centre, quotient } from "../trajectory/groups.ts";
import { isMasked } from "./tokens.ts";

export interface WhitenOptions {
  /** the variance is divided by n − ddof; default 1 */
  readonly ddof?: 0 | 1;
  /** added to the variance; default 1e-8 */
  readonly eps?: number;
  /** the variance is at least this; default 0 */
  readonly minVariance?: number;
}

/**
 * `[N]` (x − mean) / √(max(variance, minVariance) + eps) over the tokens that are not masked. Masked tokens and NaN values take
 * no part and get 0. Equal values give exactly 0, and so does a single token.
 */
export function whiten(
  values: ArrayLike<number>,
  options: WhitenOptions & { /** `[N]` */ readonly mask?: ArrayLike<number> | undefined } = {},
): Float64Array {
  const { ddof = 1, eps = 1e-8, minVariance = 0, mask } = options;
  if (mask !== undefined && mask.length !== values.length) {
    throw new RangeError(`whiten: expected mask [N] of length ${values.length}, received ${mask.length}`);
  }
  const present: number[] = [];
  for (let n = 0; n < values.length; n++) if (!isMasked(mask, n) && !Number.isNaN(values[n])) present.push(n);
  const centred = centre(present.map((n) => values[n]));
  const squares = centred.reduce((sum, c) => sum + c * c, 0);
  const divisor = Math.sqrt(Math.max(squares / Math.max(1, present.length - ddof), minVariance) + eps);
  const whitened = new Float64Array(values.length);
  present.forEach((n, i) => (whitened[n] = quotient(centred[i], divisor)));
  return whitened;
}
