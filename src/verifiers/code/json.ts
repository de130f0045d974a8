/** A value that a program wrote as JSON; undefined where it is none: a program can write what it likes. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
