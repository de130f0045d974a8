/** The verifiers by name, for a configuration and for the command line. */

import { choiceVerifier } from "./choice.ts";
import { exactVerifier } from "./exact.ts";
import { mathVerifier } from "./math.ts";
import { numberVerifier } from "./number.ts";
import type { ExtractingVerifier } from "./verifier.ts";

export const verifierNames = ["exact", "number", "math", "choice"] as const;
export type VerifierName = (typeof verifierNames)[number];

/** Each makes a verifier that looks behind a marker; an empty one: at the whole solution. */
export const verifiers: Readonly<Record<VerifierName, (marker: string) => ExtractingVerifier>> = {
  exact: exactVerifier,
  number: numberVerifier,
  math: mathVerifier,
  choice: choiceVerifier,
};
