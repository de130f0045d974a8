import { Turns } from "./turns.ts";
import type { TextVerifier } from "./verifier.ts";

export interface VerifierBounds {
  /** for one verdict, from its start; default 60 */
  readonly seconds?: number;
  /** verdicts at a time; default 0: as many as there are usable cores */
  readonly concurrency?: number;
}

/**
 * A verifier that is asked for so many verdicts at a time, and whose verdict is none where it takes too long: it rejects.
 * What a verifier goes on doing after that is not ended, and one that never waits cannot be interrupted.
 */
export function boundedVerifier(verifier: TextVerifier, bounds: VerifierBounds = {}): TextVerifier {
  const { seconds = 60, concurrency = 0 } = bounds;
  if (!(seconds > 0 && seconds < 2 ** 21)) {
    throw new RangeError(
      `boundedVerifier: expected seconds to be a number above 0 and below 2^21, received ${seconds}`,
    );
  }
  const turns = new Turns(concurrency);
  return {
    verify: (solution, answer, finished) =>
      turns.take(() => inTime(async () => verifier.verify(solution, answer, finished), seconds)),
  };
}

async function inTime(work: () => Promise<number>, seconds: number): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`verify: expected a verdict within ${seconds} s`)), 1000 * seconds);
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}
