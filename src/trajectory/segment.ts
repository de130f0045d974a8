/** Where steps begin and end. */

import type { Range, Segmenter, TokenMeasures } from "./problem.ts";

/** Steps of `count` tokens; the last may be shorter. */
export function fixedTokens(count: number): Segmenter {
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`fixedTokens: expected a count of at least 1, received ${count}`);
  }
  return (completion) => {
    const steps: Range[] = [];
    for (let start = 0; start < completion.length; start += count) {
      steps.push({ start, end: Math.min(start + count, completion.length) });
    }
    return steps;
  };
}

/** A step ends after each token that is one of `tokenIds`; what follows the last of them is a step too. */
export function delimiter(tokenIds: readonly number[]): Segmenter {
  const ends = new Set(tokenIds);
  return (completion) => splitAfter(completion.length, (t) => ends.has(completion[t]));
}

/**
 * A step ends after each token with a line feed in its text; blank tokens that follow belong to it.
 * @param textOf the text of a token id
 */
export function tokenLines(textOf: (token: number) => string): Segmenter {
  return (completion) => {
    let ended = false; // a line feed has been seen since the last token with something to read
    const starts = completion.map((token) => {
      const text = textOf(token);
      const blank = text.trim() === "";
      const begins = ended && !blank;
      if (!blank) ended = false;
      if (text.includes("\n")) ended = true;
      return begins;
    });
    return splitAfter(completion.length, (t) => t + 1 < starts.length && starts[t + 1]);
  };
}

/** Character ranges of the lines of a text, each with its line feed. Indices count UTF-16 units, as strings do. */
export function lines(text: string): Range[] {
  return splitAfter(text.length, (t) => text[t] === "\n");
}

function splitAfter(length: number, endsAt: (index: number) => boolean): Range[] {
  const ranges: Range[] = [];
  let start = 0;
  for (let t = 0; t < length; t++) {
    if (endsAt(t) || t === length - 1) {
      ranges.push({ start, end: t + 1 });
      start = t + 1;
    }
  }
  return ranges;
}

/**
 * Text ranges to token ranges: a token belongs to the range that holds its first character. A range in which no token
 * begins gives no step.
 *
 * @param charRanges half-open, in order, without gaps, from character 0
 * @param tokenCharStarts the first character of each token, ascending; tokens at or beyond the end of the text (an end
 *   marker has no characters) belong to the last range
 * @param tokenCount tokens in all; those without an entry in `tokenCharStarts` come last and join the last step
 * @throws RangeError for gaps, overlaps or descending starts
 */
export function mapBoundaries(
  charRanges: readonly Range[],
  tokenCharStarts: readonly number[],
  tokenCount: number = tokenCharStarts.length,
): Range[] {
  checkSteps(charRanges, charRanges.at(-1)?.end ?? 0, "mapBoundaries: expected character ranges");
  if (tokenCount < tokenCharStarts.length) {
    throw new RangeError(
      `mapBoundaries: expected at most ${tokenCount} token starts, received ${tokenCharStarts.length}`,
    );
  }
  if (tokenCount === 0) return [];
  if (charRanges.length === 0) return [{ start: 0, end: tokenCount }];
  const steps: Range[] = [];
  let start = 0;
  let range = 0;
  for (let t = 0; t < tokenCharStarts.length; t++) {
    const at = tokenCharStarts[t];
    if (!(at >= 0) || (t > 0 && at < tokenCharStarts[t - 1])) {
      throw new RangeError(`mapBoundaries: expected ascending token starts, received ${at} at token ${t}`);
    }
    const previous = range;
    while (range + 1 < charRanges.length && at >= charRanges[range].end) range++;
    if (range !== previous && t > start) {
      steps.push({ start, end: t });
      start = t;
    }
  }
  steps.push({ start, end: tokenCount });
  return steps;
}

/**
 * Checks that every token is in exactly one step.
 *
 * @throws RangeError for a gap, an overlap, an empty step, or an end beyond the tokens
 */
export function checkSteps(steps: readonly Range[], tokenCount: number, subject = "segment: expected steps"): void {
  const fail = (received: string): never => {
    throw new RangeError(`${subject} to hold each of ${tokenCount} positions exactly once, received ${received}`);
  };
  let covered = 0;
  for (const { start, end } of steps) {
    const range = `[${start}, ${end})`;
    if (!Number.isInteger(start) || !Number.isInteger(end)) fail(`the range ${range}`);
    if (start > covered) fail(`a gap before ${range}: ${covered} comes next`);
    if (start < covered) fail(`an overlap at ${range}: ${covered} comes next`);
    if (end <= start) fail(`an empty range ${range}`);
    covered = end;
  }
  if (covered !== tokenCount) fail(`ranges that end at ${covered}`);
}

/** The tokens of each step of a completion. */
export function splitSteps(completion: readonly number[], segment: Segmenter, measured?: TokenMeasures): number[][] {
  const steps = segment(completion, measured);
  checkSteps(steps, completion.length);
  return steps.map(({ start, end }) => completion.slice(start, end));
}
