/** A verifier of the user's own, from a module. It is code of this process: it may do whatever the user may. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import type { TextVerifier } from "./verifier.ts";

/** Whether a name is meant as a module's path: it has a separator in it, or an extension of one. */
export const isModulePath = (name: string): boolean => /[/\\]|\.[cm]?[jt]s$/.test(name);

const expected = "a verifier { verify } or a function (solution, answer, finished) as its default export";

/**
 * The default export of a module, which is a TextVerifier or its function `verify`.
 * @param path from the working directory
 * @throws Error that names the file and what was expected of it
 */
export async function loadVerifier(path: string): Promise<TextVerifier> {
  const file = resolve(path);
  if (!existsSync(file)) throw new Error(`${path}: expected a module with ${expected}, found no such file`);
  let loaded: { readonly default?: unknown };
  try {
    loaded = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as typeof loaded;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${path}: expected a module with ${expected}, but it cannot be loaded: ${reason}`, {
      cause: error,
    });
  }
  const given = loaded.default;
  if (typeof given === "function") return { verify: given as TextVerifier["verify"] };
  if (isVerifier(given)) return given;
  throw new TypeError(`${path}: expected ${expected}, received ${given === null ? "null" : typeof given}`);
}

function isVerifier(value: unknown): value is TextVerifier {
  return typeof (value as Partial<TextVerifier> | null | undefined)?.verify === "function";
}
