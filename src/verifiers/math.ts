/** Answers in mathematics, in LaTeX or plain text, compared by what they say and not by how they are written. */

import { Budget } from "./math/budget.ts";
import type { Answer } from "./math/expression.ts";
import { extractAnswer, extractKnown } from "./math/extract.ts";
import { comparableText, oneNotation, readingsOf } from "./math/notation.ts";
import { parseAnswer } from "./math/parse-answer.ts";
import { sameAnswer } from "./math/same-answer.ts";
import { writtenAnswer, type ExtractingVerifier } from "./verifier.ts";

/**
 * The answer in the last box; else after the marker; else the last formula or number. An answer that cannot be read is
 * compared as a text; nothing that a solution says makes it throw.
 */
export function mathVerifier(marker: string): ExtractingVerifier {
  let lastKnown: { readonly written: string; readonly readings: readonly Answer[] } | undefined;
  const readKnown = (answer: unknown): { readonly written: string; readonly readings: readonly Answer[] } => {
    const written = extractKnown(writtenAnswer(answer), marker);
    if (lastKnown?.written === written) return lastKnown;
    if (comparableText(written) === "") {
      throw new RangeError(`verify: expected an answer in mathematics, received ${JSON.stringify(answer)}`);
    }
    return (lastKnown = { written, readings: readings(written, new Budget()) });
  };
  return {
    extract: (solution) => extractAnswer(solution, marker),
    verify(solution, answer) {
      const known = readKnown(answer);
      const given = extractAnswer(solution, marker);
      return given !== undefined && isSame(known.written, known.readings, given, new Budget()) ? 1 : 0;
    },
  };
}

/**
 * Whether two written answers say the same.
 * @param budget counts the steps that it takes; where they are used up, the answers count as different
 */
export function sameMathematics(known: string, given: string, budget: Budget = new Budget()): boolean {
  return isSame(known, readings(known, new Budget()), given, budget);
}

function isSame(written: string, known: readonly Answer[], given: string, budget: Budget): boolean {
  const text = comparableText(given);
  if (text !== "" && text === comparableText(written)) return true;
  return readings(given, budget).some((reading) => known.some((answer) => sameAnswer(answer, reading, budget)));
}

const readings = (written: string, budget: Budget): readonly Answer[] =>
  readingsOf(oneNotation(written)).map((reading) => parseAnswer(reading, budget));
