/**
 * The flat layout of tokens that the estimators below share: B sequences one after another, N tokens, arrays `[N]`;
 * `sequenceOffsets [B + 1]` as in the normalisers. A token may be masked (a tool's reply, padding): nothing it holds is read
 * unless a function says so, and it gets 0.
 */
import { sequenceLengths } from "../normaliser.ts";

export interface TokenLayout {
  /** `[B + 1]` sequence b owns tokens sequenceOffsets[b] … sequenceOffsets[b + 1) */
  readonly sequenceOffsets: Int32Array;
  /** `[N]` 0 where a token is masked; default: none is */
  readonly mask?: ArrayLike<number>;
}

/** B and N, after every array was found to be as long as it should be. */
export interface LayoutSize {
  readonly sequences: number;
  readonly tokens: number;
}

/** Checks the layout and the lengths of arrays `perSequence [B]` and `perToken [N]`; throws a RangeError that names the array. */
export function checkLayout(
  caller: string,
  { sequenceOffsets, mask }: TokenLayout,
  perToken: Readonly<Record<string, ArrayLike<number> | undefined>>,
  perSequence: Readonly<Record<string, ArrayLike<unknown> | undefined>> = {},
): LayoutSize {
  const sequences = sequenceLengths(caller, sequenceOffsets).length;
  const tokens = sequenceOffsets[sequences];
  for (const [name, values] of Object.entries({ mask, ...perToken })) {
    if (values !== undefined && values.length !== tokens) {
      throw new RangeError(`${caller}: expected ${name} [N] of length ${tokens}, received ${values.length}`);
    }
  }
  for (const [name, values] of Object.entries(perSequence)) {
    if (values !== undefined && values.length !== sequences) {
      throw new RangeError(`${caller}: expected ${name} [B] of length ${sequences}, received ${values.length}`);
    }
  }
  return { sequences, tokens };
}

export function isMasked(mask: ArrayLike<number> | undefined, n: number): boolean {
  return mask !== undefined && mask[n] === 0;
}

/** `[N]` the value of its sequence at every token, 0 at masked ones. */
export function perToken(args: TokenLayout & { /** `[B]` */ readonly values: ArrayLike<number> }): Float64Array {
  const { sequenceOffsets, mask, values } = args;
  const { sequences, tokens } = checkLayout("perToken", args, {}, { values });
  const spread = new Float64Array(tokens);
  for (let b = 0; b < sequences; b++) {
    for (let n = sequenceOffsets[b]; n < sequenceOffsets[b + 1]; n++) spread[n] = isMasked(mask, n) ? 0 : values[b];
  }
  return spread;
}

export interface TokenRewardArguments extends TokenLayout {
  /** `[B]` one per sequence */
  readonly rewards: ArrayLike<number>;
  /** `[N]` an estimate of KL(policy ‖ reference) at each token */
  readonly kl?: ArrayLike<number>;
  /** default 0 */
  readonly klCoef?: number;
}

/**
 * `[N]` −klCoef · kl at every token, plus the reward of the sequence at its last token that is not masked. A sequence without
 * such a token has nothing to carry its reward. Source: Stiennon et al. 2020, arXiv:2009.01325.
 */
export function tokenRewards(args: TokenRewardArguments): Float64Array {
  const { sequenceOffsets, mask, rewards, kl, klCoef = 0 } = args;
  const { sequences, tokens } = checkLayout("tokenRewards", args, { kl }, { rewards });
  const shaped = new Float64Array(tokens);
  for (let b = 0; b < sequences; b++) {
    let last = -1;
    for (let n = sequenceOffsets[b]; n < sequenceOffsets[b + 1]; n++) {
      if (isMasked(mask, n)) continue;
      if (kl !== undefined && klCoef !== 0) shaped[n] = -klCoef * kl[n];
      last = n;
    }
    if (last >= 0) shaped[last] += rewards[b];
  }
  return shaped;
}
