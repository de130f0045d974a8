/** Steps that begin where the policy was unsure. */

import type { Range, Segmenter, TokenMeasures } from "./problem.ts";

/** Which numbers are high: those of at least so many nats, or those in the top share of the completion up to them. */
export type EntropySteps = ({ readonly threshold: number } | { readonly top: number }) & {
  /** tokens of a step, at least, but for the last one; default 1 */
  readonly least?: number;
};

/**
 * A step begins at each token with a high entropy, or, where entropies are not known, a high surprise (minus its log-prob). A
 * token whose number is NaN begins none.
 *
 * Whether a step begins at a token depends on that token's number and those before it alone, so completions that begin alike
 * are cut alike as far as they do: the top share is counted among the numbers so far, the token is one of the ⌊top · n⌋
 * largest of n, and of equal ones the earlier is the larger. The surprise is that of the token that was drawn: where two
 * completions part, it can begin a step in the one and not in the other, which the entropy cannot.
 *
 * @throws RangeError for settings out of range; when cutting, for a completion without a number per token
 */
export function entropySteps(settings: EntropySteps): Segmenter {
  const { least = 1 } = settings;
  if (!Number.isInteger(least) || least < 1) {
    throw new RangeError(`entropySteps: expected least to be an integer ≥ 1, received ${least}`);
  }
  const begins = "top" in settings ? topShare(settings.top) : atLeast(settings.threshold);
  const segment = (completion: readonly number[], measured?: TokenMeasures): Range[] => {
    const high = begins();
    const numbers = numbersOf(measured, completion.length);
    const steps: Range[] = [];
    let start = 0;
    numbers.forEach((number, t) => {
      // Asked of every token: a share counts them all.
      if (!high(number) || t - start < least) return;
      steps.push({ start, end: t });
      start = t;
    });
    if (start < completion.length) steps.push({ start, end: completion.length });
    return steps;
  };
  return Object.assign(segment, { byMeasure: true });
}

/** `2.5` (nats) or `20%` (the top share), and after a comma the least length; undefined: neither. */
export function parseEntropySteps(text: string): EntropySteps | undefined {
  const [, number, percent, least] = /^(\d+(?:\.\d+)?)(%?)(?:,([1-9]\d*))?$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  const length = least === undefined ? {} : { least: Number(least) };
  if (percent === "") return { threshold: Number(number), ...length };
  const top = Number(number) / 100;
  return top > 0 && top <= 1 ? { top, ...length } : undefined;
}

function numbersOf(measured: TokenMeasures | undefined, length: number): readonly number[] {
  const { entropies, logprobs } = measured ?? {};
  const numbers = entropies ?? logprobs?.map((logprob) => -logprob);
  if (numbers?.length !== length) {
    throw new RangeError(
      `entropySteps: expected an entropy or a log-prob for each of ${length} tokens, received ${numbers?.length ?? "none"}`,
    );
  }
  return numbers;
}

/** Per completion, whether the next number is high. */
type Begins = () => (number: number) => boolean;

function atLeast(threshold: number): Begins {
  if (!(threshold >= 0)) {
    throw new RangeError(`entropySteps: expected a threshold of at least 0 nats, received ${threshold}`);
  }
  return () => (number) => number >= threshold;
}

function topShare(top: number): Begins {
  if (!(top > 0 && top <= 1)) {
    throw new RangeError(`entropySteps: expected top to be a share above 0, at most 1, received ${top}`);
  }
  return () => {
    const descending: number[] = [];
    return (number) => {
      if (Number.isNaN(number)) return false;
      const rank = placeIn(descending, number);
      descending.splice(rank, 0, number);
      return rank + 1 <= top * descending.length;
    };
  };
}

/** How many of the numbers, which descend, are not smaller. */
function placeIn(descending: readonly number[], number: number): number {
  let [low, high] = [0, descending.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (descending[middle] >= number) low = middle + 1;
    else high = middle;
  }
  return low;
}
