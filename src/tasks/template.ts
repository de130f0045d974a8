/** Templates: texts with places for what a prompt shows. */

/** A template with its places filled: `{prompt}`, and `{attempt}`, `{steps}` or `{answer}` where they are given. */
export function fill(template: string, places: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (place, name: string) => (Object.hasOwn(places, name) ? places[name] : place));
}

/** Steps of a solution, one a line, each with its number from 1. */
export const numbered = (steps: readonly string[]): string =>
  steps.map((step, index) => `${index + 1}. ${step.trim()}`).join("\n");

/** A known answer as a prompt shows it. */
export const shownAnswer = (answer: unknown): string =>
  typeof answer === "string" ? answer : (JSON.stringify(answer) ?? "");
