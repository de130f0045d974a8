import { afterMarker, answerText, type TextVerifier } from "./verifier.ts";

/** The same text as the answer, white space at both ends apart. */
export function exactVerifier(marker: string): TextVerifier {
  return {
    verify: (solution, answer) => (afterMarker(solution, marker)?.trim() === answerText(answer, marker).trim() ? 1 : 0),
  };
}
