/** Recorded rollouts: problems with solutions that somebody sampled and judged before, as they stand in a JSON file. */

export interface RecordedRollout {
  readonly text?: string;
  /** token ids */
  readonly tokens?: readonly number[];
  /** of each token, in nats; kept, and used where steps follow them */
  readonly logprobs?: readonly number[] | null;
  /** of the distribution that each token was drawn from, in nats; kept, and used as the log-probs are */
  readonly entropies?: readonly number[] | null;
  /** the outcome; missing, null or not finite: unverified */
  readonly reward?: number | null;
  readonly [field: string]: unknown;
}

export interface RecordedProblem {
  readonly id: string | number;
  /** text, token ids or messages; kept, and used where an engine is asked */
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
  const { text, tokens, reward, ...measured } = expectObject(name, value);
  expect(name, text !== undefined || tokens !== undefined, "a rollout with text or tokens", value);
  expect(`${name}.text`, text === undefined || typeof text === "string", "a string", text);
  if (tokens !== undefined) checkList(`${name}.tokens`, tokens, isToken, "token ids, integers in 0 … 2³¹ − 1");
  for (const field of ["logprobs", "entropies"] as const) checkMeasured(`${name}.${field}`, measured[field], tokens);
  expect(
    `${name}.reward`,
    reward === undefined || reward === null || typeof reward === "number",
    "a number or null",
    reward,
  );
}

function checkMeasured(name: string, numbers: unknown, tokens: unknown): void {
  if (numbers === undefined || numbers === null) return;
  checkList(name, numbers, (entry) => typeof entry === "number", "numbers");
  if (Array.isArray(tokens) && tokens.length !== numbers.length) {
    throw new TypeError(`${name}: expected one per token, received ${numbers.length} for ${tokens.length} tokens`);
  }
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
