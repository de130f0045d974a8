import { afterMarker, answerText, type TextVerifier } from "./verifier.ts";

/** Digits with thousands separators or without, a fraction, an exponent, and a sign that is not an operator. */
const numberPattern =
  /(?:(?<![\w.)])[-+−])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+)(?:e[-+]?\d+)?/giu;

/** The last number of a text; undefined where there is none. */
export function lastNumber(text: string): number | undefined {
  const written = text.match(numberPattern)?.at(-1);
  return written === undefined ? undefined : Number(written.replaceAll(",", "").replace("−", "-"));
}

/** The last number after the marker has the value of the answer's. */
export function numberVerifier(marker: string): TextVerifier {
  return {
    verify(solution, answer) {
      const expected = lastNumber(answerText(answer, marker));
      if (expected === undefined) {
        throw new RangeError(`verify: expected a number in the answer, received ${JSON.stringify(answer)}`);
      }
      return lastNumber(afterMarker(solution, marker) ?? "") === expected ? 1 : 0;
    },
  };
}
