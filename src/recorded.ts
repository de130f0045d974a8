/** Recorded rollouts: problems with solutions that somebody sampled and judged before, as they stand in a JSON file. */

export interface RecordedRollout {
  readonly text?: string;
  /** token ids */
  readonly tokens?: readonly number[];
  /** of each token; kept, not used */
  readonly logprobs?: readonly number[] | null;
  /** the outcome; missing, null or not finite: unverified */
  readonly reward?: number | null;
  readonly [field: string]: unknown;
}

export interface RecordedProblem {
  readonly id: string | number;
  /** text, token ids or messages; kept, not used */
  readonly prompt: string | readonly unknown[];
  readonly rollouts: readonly RecordedRollout[];
  readonly [field: string]: unknown;
}

const maxToken = 2 ** 31 - 1;

/**
 * A parsed line as a problem with its rollouts; fields that are not named above are left as they are.
 *
 * @throws TypeError that names the field, what it should be and what it is
 */
export function parseRecordedProblem(value: unknown): RecordedProblem {
  const problem = expectObject("the line", value);
  const { id, prompt, rollouts } = problem;
  expect("id", typeof id === "string" || typeof id === "number", "a string or a number", id);
  expect("prompt", typeof prompt === "string" || Array.isArray(prompt), "a string or a list", prompt);
  if (!Array.isArray(rollouts)) fail("rollouts", "a list", rollouts);
  rollouts.forEach((rollout: unknown, g) => checkRollout(rollout, `rollouts[${g}]`));
  return problem as unknown as RecordedProblem;
}

function checkRollout(value: unknown, name: string): void {
  const { text, tokens, logprobs, reward } = expectObject(name, value);
  expect(name, text !== undefined || tokens !== undefined, "a rollout with text or tokens", value);
  expect(`${name}.text`, text === undefined || typeof text === "string", "a string", text);
  if (tokens !== undefined) checkList(`${name}.tokens`, tokens, isToken, "token ids, integers in 0 … 2³¹ − 1");
  if (logprobs !== undefined && logprobs !== null) {
    checkList(`${name}.logprobs`, logprobs, (entry) => typeof entry === "number", "numbers");
    if (Array.isArray(tokens) && tokens.length !== logprobs.length) {
      throw new TypeError(
        `${name}.logprobs: expected one per token, received ${logprobs.length} for ${tokens.length} tokens`,
      );
    }
  }
  expect(
    `${name}.reward`,
    reward === undefined || reward === null || typeof reward === "number",
    "a number or null",
    reward,
  );
}

function checkList(
  name: string,
  list: unknown,
  isEntry: (entry: unknown) => boolean,
  expected: string,
): asserts list is readonly unknown[] {
  if (!Array.isArray(list)) fail(name, `a list of ${expected}`, list);
  const wrong = list.findIndex((entry) => !isEntry(entry));
  if (wrong >= 0) fail(`${name}[${wrong}]`, expected, list[wrong]);
}

function isToken(entry: unknown): boolean {
  return Number.isInteger(entry) && (entry as number) >= 0 && (entry as number) <= maxToken;
}

function expectObject(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) fail(name, "an object", value);
  return value as Readonly<Record<string, unknown>>;
}

function expect(name: string, holds: boolean, expected: string, value: unknown): void {
  if (!holds) fail(name, expected, value);
}

function fail(name: string, expected: string, value: unknown): never {
  throw new TypeError(`${name}: expected ${expected}, received ${describe(value)}`);
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  const json = JSON.stringify(value);
  return json.length > 40 ? `${json.slice(0, 40)}…` : json;
}
