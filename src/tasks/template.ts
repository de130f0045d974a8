/** Templates: texts with places for what a prompt shows. */

/**
 * A template with its places filled: `{prompt}`, and `{attempt}`, `{steps}`, `{answer}` or `{sibling}` where they are given.
 * What stands between `{#sibling}` and `{/sibling}` is left out, marks and all, where there is no such place to fill.
 */
export function fill(template: string, places: Readonly<Record<string, string>>): string {
  return template
    .replace(section, (_, name: string, inside: string) => (Object.hasOwn(places, name) ? inside : ""))
    .replace(/\{(\w+)\}/g, (place, name: string) => (Object.hasOwn(places, name) ? places[name] : place));
}

const section = /\{#(\w+)\}(.*?)\{\/\1\}/gs;

/** Whether a place stands where the template has to have it, outside of its section. */
export function needs(template: string, place: string): boolean {
  return template.replace(section, "").includes(`{${place}}`);
}

/** What a repair's template shows of the answer, in words; undefined: nothing. Such a repair wants a filter. */
export function hintIn(template: string): string | undefined {
  if (template.includes("{answer}")) return "the answer";
  return template.includes("{sibling}") ? "a success" : undefined;
}

/** Steps of a solution, one a line, each with its number from 1. */
export const numbered = (steps: readonly string[]): string =>
  steps.map((step, index) => `${index + 1}. ${step.trim()}`).join("\n");

/** A known answer as a prompt shows it. */
export const shownAnswer = (answer: unknown): string =>
  typeof answer === "string" ? answer : (JSON.stringify(answer) ?? "");
