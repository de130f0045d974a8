/** The verifiers by name, for a configuration and for the command line. */

import { boundedVerifier } from "./bounded.ts";
import { choiceVerifier } from "./choice.ts";
import { javascriptVerifier } from "./code/javascript.ts";
import { pythonVerifier, type PythonContainment } from "./code/python.ts";
import { countdownVerifier } from "./countdown.ts";
import { exactVerifier } from "./exact.ts";
import { mathVerifier } from "./math.ts";
import { isModulePath, loadVerifier } from "./module.ts";
import { numberVerifier } from "./number.ts";
import type { TextVerifier } from "./verifier.ts";

export const verifierNames = ["exact", "number", "math", "choice", "countdown", "python", "javascript"] as const;
export type VerifierName = (typeof verifierNames)[number];

export interface VerifierSettings {
  /** the answer is looked for behind its last occurrence; empty: in the whole solution */
  readonly marker: string;
  /** of one run of a program, and of one verdict of a module */
  readonly seconds: number;
  /** programs, or verdicts of a module, at a time; 0: as many as there are usable cores */
  readonly concurrency: number;
  /** what holds a program in Python */
  readonly containment: PythonContainment;
}

/** A verifier that may say what it judged. */
export interface OpenedVerifier extends TextVerifier {
  extract?(solution: string): string | undefined;
}

const byName: Readonly<Record<VerifierName, (settings: VerifierSettings) => OpenedVerifier>> = {
  exact: ({ marker }) => exactVerifier(marker),
  number: ({ marker }) => numberVerifier(marker),
  math: ({ marker }) => mathVerifier(marker),
  choice: ({ marker }) => choiceVerifier(marker),
  countdown: ({ marker }) => countdownVerifier(marker),
  python: ({ marker, ...limits }) => pythonVerifier(marker, limits),
  javascript: ({ marker, ...limits }) => javascriptVerifier(marker, limits),
};

/** Whether `openVerifier` knows what is meant: one of the names, or a path. */
export const isVerifierName = (name: string): boolean =>
  verifierNames.some((known) => known === name) || isModulePath(name);

/** What a verifier can be, for messages. */
export const expectedVerifier = `one of ${verifierNames.join(", ")}, or a module's path such as ./verifier.mjs`;

/**
 * A verifier by its name or by the path of its module. One of a module is asked within the settings' bounds.
 * @throws RangeError for an unknown name; Error that names the module and what was expected of it
 */
export async function openVerifier(name: string, settings: VerifierSettings): Promise<OpenedVerifier> {
  if (Object.hasOwn(byName, name)) return byName[name as VerifierName](settings);
  if (!isModulePath(name)) {
    throw new RangeError(`openVerifier: expected ${expectedVerifier}, received ${JSON.stringify(name)}`);
  }
  const verifier: OpenedVerifier = await loadVerifier(name);
  const extract = verifier.extract?.bind(verifier);
  return { ...boundedVerifier(verifier, settings), ...(extract !== undefined && { extract }) };
}
