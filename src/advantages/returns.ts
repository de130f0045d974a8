/** Returns: what is still to come after a token (or a step), and how far that is from what was expected. */
import { checkLayout, isMasked, type TokenLayout } from "./tokens.ts";

/**
 * What a masked token does to the return that passes through it. Only `carry` gives the tokens of a rollout the same returns
 * whether masked ones lie between them or not.
 * - `carry`: it is absent. No reward, no discount; its own return is 0.
 * - `discount`: it has no reward, but time passes: the return is discounted, and recorded at it.
 * - `reset`: its reward counts and its return is recorded, but nothing passes on to the tokens before it. Credit is lost across
 *   a tool's reply.
 */
export type MaskedTokens = "carry" | "discount" | "reset";

export interface ReturnArguments extends TokenLayout {
  /** `[N]` */
  readonly rewards: ArrayLike<number>;
  /** discount per token; default 1 */
  readonly gamma?: number;
  /** default `carry` */
  readonly masked?: MaskedTokens;
}

/** `[N]` G[t] = r[t] + γ · G[t + 1], from the end of each sequence. */
export function returnToGo(args: ReturnArguments): Float64Array {
  const { sequenceOffsets, mask, rewards, gamma = 1, masked = "carry" } = args;
  const { sequences, tokens } = checkLayout("returnToGo", args, { rewards });
  const returns = new Float64Array(tokens);
  for (let b = 0; b < sequences; b++) {
    let next = 0;
    for (let n = sequenceOffsets[b + 1] - 1; n >= sequenceOffsets[b]; n--) {
      const absent = isMasked(mask, n);
      if (absent && masked === "carry") continue;
      next = (absent && masked === "discount" ? 0 : rewards[n]) + gamma * next;
      returns[n] = next;
      if (absent && masked === "reset") next = 0;
    }
  }
  return returns;
}

/** `[N]` δ[t] = r[t] + γ · V[t + 1] − V[t], with V = 0 beyond the end of a sequence. */
export function temporalDifferences(args: {
  readonly rewards: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  readonly sequenceOffsets: Int32Array;
  readonly gamma?: number;
}): Float64Array {
  const { sequenceOffsets, rewards, values, gamma = 1 } = args;
  const { sequences, tokens } = checkLayout("temporalDifferences", { sequenceOffsets }, { rewards, values });
  const differences = new Float64Array(tokens);
  for (let b = 0; b < sequences; b++) {
    const end = sequenceOffsets[b + 1];
    for (let n = sequenceOffsets[b]; n < end; n++) {
      differences[n] = rewards[n] + (n + 1 < end ? gamma * values[n + 1] : 0) - values[n];
    }
  }
  return differences;
}

export interface GaeArguments extends TokenLayout {
  /** `[N]` */
  readonly rewards: ArrayLike<number>;
  /** `[N]` the critic's value before each token */
  readonly values: ArrayLike<number>;
  /** discount per token; default 1 */
  readonly gamma?: number;
  /** λ, from 0 (one step) to 1 (the whole return); default 1 */
  readonly lambda?: number;
  /** as in `returnToGo`; where time passes, a masked token has no reward and the value 0; default `carry` */
  readonly masked?: "carry" | "discount";
}

/** Advantages and the targets of the critic, `[N]` each. */
export interface AdvantagesAndReturns {
  readonly advantages: Float64Array;
  readonly returns: Float64Array;
}

/**
 * A[t] = δ[t] + γλ · A[t + 1] and returns = A + V: generalised advantage estimation, not whitened. Without a mask every token is
 * an action. Source: Schulman et al. 2015, arXiv:1506.02438, eq. 16.
 */
export function gae(args: GaeArguments): AdvantagesAndReturns {
  const { sequenceOffsets, mask, rewards, values, gamma = 1, lambda = 1, masked = "carry" } = args;
  const { sequences, tokens } = checkLayout("gae", args, { rewards, values });
  // The tokens through which time passes, laid out without the others.
  const kept: number[] = [];
  const keptOffsets = new Int32Array(sequences + 1);
  for (let b = 0; b < sequences; b++) {
    for (let n = sequenceOffsets[b]; n < sequenceOffsets[b + 1]; n++) {
      if (masked === "discount" || !isMasked(mask, n)) kept.push(n);
    }
    keptOffsets[b + 1] = kept.length;
  }
  const present = (array: ArrayLike<number>) => Float64Array.from(kept, (n) => (isMasked(mask, n) ? 0 : array[n]));
  const layout = { sequenceOffsets: keptOffsets };
  const differences = temporalDifferences({ ...layout, rewards: present(rewards), values: present(values), gamma });
  const estimates = returnToGo({ ...layout, rewards: differences, gamma: gamma * lambda });
  const advantages = new Float64Array(tokens);
  const returns = new Float64Array(tokens);
  kept.forEach((n, i) => {
    if (isMasked(mask, n)) return;
    advantages[n] = estimates[i];
    returns[n] = estimates[i] + values[n];
  });
  return { advantages, returns };
}
