/** Judges of written solutions. */

export interface TextVerifier {
  /**
   * 1 where the solution gives the answer, else 0; or any other real number. A throw, a rejection, NaN or an infinity means
   * that it could not be judged, which is never a reward.
   * @param finished whether the solution came to its end; false: it was cut off at its limit
   */
  verify(solution: string, answer: unknown, finished: boolean): number | Promise<number>;
}

/** A verifier that can say what it judged. */
export interface ExtractingVerifier extends TextVerifier {
  /** The answer that it finds in a solution, as it is written there; undefined where it finds none. Never throws. */
  extract(solution: string): string | undefined;
  /** 1 where the solution gives the answer, else 0. Throws where the answer itself cannot be judged. */
  verify(solution: string, answer: unknown, finished: boolean): number;
}

/** A verifier that runs the program of a solution. */
export interface ProgramVerifier extends TextVerifier {
  /** The program that it finds in a solution; undefined where it finds none. Never throws. */
  extract(solution: string): string | undefined;
  /** 1 where the program passes the tests of the answer, else 0. Rejects where the answer is none, or nothing can be run. */
  verify(solution: string, answer: unknown, finished: boolean): Promise<number>;
}

/** What comes after the last occurrence of a marker; undefined where there is none. An empty marker: the whole text. */
export function afterMarker(text: string, marker: string): string | undefined {
  const at = text.lastIndexOf(marker);
  return marker === "" ? text : at < 0 ? undefined : text.slice(at + marker.length);
}

/** A known answer as it was written. */
export function writtenAnswer(answer: unknown): string {
  if (typeof answer === "number") return String(answer);
  if (typeof answer !== "string") {
    throw new TypeError(`verify: expected answer to be a text or a number, received ${JSON.stringify(answer)}`);
  }
  return answer;
}

/** The answer's own text: a known answer may come with its derivation and the same marker. */
export function answerText(answer: unknown, marker: string): string {
  const written = writtenAnswer(answer);
  return afterMarker(written, marker) ?? written;
}
