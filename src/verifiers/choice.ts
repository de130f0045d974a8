import { lastBoxed } from "./boxed.ts";
import { afterMarker, writtenAnswer, type ExtractingVerifier } from "./verifier.ts";

/** A letter by itself, in brackets or not: `B`, `(B)`, `[B]`, `**B**`, `\text{B}`; what it stands for may follow. */
const alone =
  /^(?:\\(?:text|textbf|mathrm|mathbf)\s*)?[\s([{*$"']*([A-J])[\s)\]}*$"']*(?:$|[.:,)](?:\s|$|\$)|[—–]|-\s)/u;
/** The letter that a sentence says it is. Lower case only in brackets: `a` is also a word. */
const said =
  /\b(?:answer|choice|option)s?\b(?:\s+(?:choice|option))?\s*(?:is|was|:|=|\s)\s*:?\s*(?:(?:option|choice)\s+)?(?:[*$"'{[\s\\]|text|boxed)*(?:\(([A-Ja-j])\)|([A-J])(?![\p{L}\p{N}'’]))/giu;
const bracketed = /\(([A-J])\)/g;

/**
 * The letter of the choice that a text gives; undefined where it gives none. In this order: the last box, the last
 * sentence such as "the answer is B", a text or a last line that is a letter, the last letter in brackets.
 */
export function choiceOf(text: string): string | undefined {
  const boxed = lastBoxed(text)?.content;
  if (boxed !== undefined) return letterAlone(boxed);
  const sentence = [...text.matchAll(said)].at(-1);
  const letter = sentence?.[1] ?? sentence?.[2];
  // The pattern looks past case to find the words; of a bare letter the case counts.
  if (letter !== undefined && (sentence?.[1] !== undefined || letter === letter.toUpperCase()))
    return letter.toUpperCase();
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return letterAlone(text) ?? letterAlone(lines.at(-1) ?? "") ?? [...text.matchAll(bracketed)].at(-1)?.[1];
}

function letterAlone(text: string): string | undefined {
  const trimmed = text.trim();
  if (/^\(?[a-j]\)?$/.test(trimmed)) return trimmed.replace(/[()]/g, "").toUpperCase();
  return alone.exec(trimmed)?.[1];
}

/** The letter of a multiple choice, A to J; behind the marker where the solution has one. */
export function choiceVerifier(marker: string): ExtractingVerifier {
  const extract = (solution: string): string | undefined => choiceOf(afterMarker(solution, marker) ?? solution);
  return {
    extract,
    verify(solution, answer) {
      const written = writtenAnswer(answer);
      const expected = choiceOf(afterMarker(written, marker) ?? written);
      if (expected === undefined) {
        throw new RangeError(`verify: expected a letter from A to J in the answer, received ${JSON.stringify(answer)}`);
      }
      return extract(solution) === expected ? 1 : 0;
    },
  };
}
