import { afterMarker, answerText, type ExtractingVerifier } from "./verifier.ts";

/** The same text as the answer, white space at both ends apart. */
export function exactVerifier(marker: string): ExtractingVerifier {
  const extract = (solution: string): string | undefined => afterMarker(solution, marker)?.trim();
  return {
    extract,
    verify: (solution, answer) => (extract(solution) === answerText(answer, marker).trim() ? 1 : 0),
  };
}
