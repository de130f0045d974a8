/** What judging one answer may cost. Answers are written by a policy: some are nonsense of any size. */

/** Longer answers are compared as texts. */
export const maxAnswerLength = 4000;
export const maxTokens = 1500;
/** of brackets, fractions, powers and calls inside one another */
export const maxDepth = 40;
/** of one written number */
export const maxDigits = 1000;
/** of a numerator or denominator */
export const maxBits = 4096;
/** of a power that is multiplied out */
export const maxExponent = 256;
/** of a polynomial */
export const maxTerms = 400;
/** terms multiplied, nodes visited, rounds of a greatest common divisor, all together for one comparison */
export const maxSteps = 400_000;

/** An answer is too large to be worked out exactly. */
export class LimitReached extends Error {
  override readonly name = "LimitReached";
}

/** Counts steps, so that the bound is one on work and the same on every machine. */
export class Budget {
  readonly limit: number;
  spent = 0;

  constructor(limit: number = maxSteps) {
    this.limit = limit;
  }

  /** @throws LimitReached where the steps are used up */
  spend(steps = 1): void {
    this.spent += steps;
    if (this.spent > this.limit) throw new LimitReached(`more than ${this.limit} steps`);
  }
}
