import { afterMarker, answerText, type ExtractingVerifier } from "./verifier.ts";

/** Digits with thousands separators or without, a fraction, an exponent, and a sign that is not an operator. */
const decimal = String.raw`(?:(?:\d{1,3}(?:(?:,|\{,\})\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+)(?:e[-+]?\d+)?`;
/** Also a quotient of two of them, or a percentage; between sign and digits may stand a currency's. */
const numberPattern = new RegExp(
  String.raw`(?:(?<![\w.)])[-+−])?(?:\\?[$€£¥])?${decimal}(?:\/${decimal}(?!\/|\d))?(?:\s*\\?%)?`,
  "giu",
);

/** The last number of a text, as it is written; undefined where there is none. */
export function lastNumberText(text: string): string | undefined {
  return text.match(numberPattern)?.at(-1);
}

/** The last number of a text, a percentage by its digits: 50% is 50. Undefined where there is none. */
export function lastNumber(text: string): number | undefined {
  const written = lastNumberText(text);
  return written === undefined ? undefined : valueOf(written);
}

function valueOf(written: string): number {
  const [num, den = "1"] = written
    .replaceAll(/[,{}$€£¥%\\\s]/g, "")
    .replace("−", "-")
    .split("/");
  return Number(num) / Number(den);
}

/** The last number after the marker has the value of the answer's; of two where one is a percentage, 50% is also 0.5. */
export function numberVerifier(marker: string): ExtractingVerifier {
  const extract = (solution: string): string | undefined => lastNumberText(afterMarker(solution, marker) ?? "");
  return {
    extract,
    verify(solution, answer) {
      const expected = lastNumberText(answerText(answer, marker));
      if (expected === undefined || !Number.isFinite(valueOf(expected))) {
        throw new RangeError(`verify: expected a number in the answer, received ${JSON.stringify(answer)}`);
      }
      const given = extract(solution);
      return given !== undefined && sameNumber(given, expected) ? 1 : 0;
    },
  };
}

function sameNumber(given: string, expected: string): boolean {
  const [left, right] = [valueOf(given), valueOf(expected)];
  if (left === right) return true;
  if (given.endsWith("%") === expected.endsWith("%")) return false;
  return given.endsWith("%") ? left / 100 === right : left === right / 100;
}
