/** Step credits with more than the record holds: a verifier for missing rewards, an engine that writes references. */

import { read, readingOf, type Reading, type Sequence } from "./credit-reading.ts";
import {
  creditGroup,
  groupOf,
  type CorrectionSource,
  type CreditConfig,
  type CreditedProblem,
  type RecordedGroup,
  type Spent,
} from "./credit.ts";
import { deriveSeed } from "./random.ts";
import type { RecordedProblem, RecordedRollout } from "./recorded.ts";
import { RemoteError } from "./remote/remote-sampler.ts";
import { fill, hintIn, numbered, shownAnswer } from "./tasks/template.ts";
import { textTask, type TextProblem, type TextTask } from "./tasks/text.ts";
import { HuggingFaceTokenizer, type ChatMessage } from "./tokenizers/hugging-face.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";
import type { CorrectionConfig } from "./trajectory/corrections.ts";
import { critique } from "./trajectory/critique.ts";
import type { Problem, Sampler, Verifier } from "./trajectory/problem.ts";
import { plausibleRepairs, type MeasureTokens, type RepairFilter } from "./trajectory/repair-filter.ts";
import { repair } from "./trajectory/repair.ts";
import { search, type SearchConfig } from "./trajectory/search.ts";
import type { Tree } from "./trajectory/tree.ts";
import { judge, type Verdict } from "./trajectory/verify.ts";
import type { TextVerifier } from "./verifiers/verifier.ts";

export interface CreditEngine {
  /** of one problem: what it gives may depend on the seed and on the requests, and on nothing else */
  readonly sampler: (seed: number, unit: Reading["unit"]) => Sampler;
  /** of all problems; each has its own by its id, wherever it stands */
  readonly seed: number;
  /** what is asked, in this order, for failed rollouts that have no reference by then */
  readonly sources: readonly CorrectionSource[];
  /** the text that is continued, with {prompt} in it */
  readonly template: string;
  /** puts that text into the tokenizer's chat template as the user's message */
  readonly chat: boolean;
  /** with {prompt} and {attempt} in it; {answer} is the known one, {#sibling}…{sibling}…{/sibling} a success of the group */
  readonly repairTemplate: string;
  /**
   * A repair is believed where each token that it changed has this probability without the repair's prompt; 0: all are. Above
   * 0 where the template shows the answer or a success.
   */
  readonly repairPlausibility: number;
  /** what these probabilities are read from, where positions count tokens; only with `repairPlausibility` */
  readonly measure?: MeasureTokens;
  /** with {prompt} and {steps} in it */
  readonly critiqueTemplate: string;
  /** repairs of one failed rollout, and continuations from before the step that a critique names */
  readonly samples: number;
  /** of a critique, whose last number counts */
  readonly critiqueTokens: number;
  readonly search: SearchConfig;
  /** of what is written in one go, in the engine's tokens */
  readonly maxTokens: number;
  /** token ids that end a solution, where positions count tokens */
  readonly stop?: readonly number[];
}

/** What asks for the least: the texts, and how much is asked for. */
export const creditEngineDefaults = {
  seed: 0,
  sources: ["search"],
  template: "{prompt}",
  chat: false,
  repairTemplate: "{prompt}\n\nThis solution is wrong:\n{attempt}\n\nA correct solution:\n",
  repairPlausibility: 0,
  critiqueTemplate: "{prompt}\n\nThis solution is wrong:\n{steps}\n\nThe number of the first step that is wrong:",
  critiqueTokens: 64,
  samples: 1,
  search: { mode: "gallop", maxProbes: 2, samples: 1 },
  maxTokens: 1024,
} as const satisfies Omit<CreditEngine, "sampler">;

export interface CreditMeans {
  /** judges rollouts that have no reward, and whatever an engine writes */
  readonly verifier?: TextVerifier;
  /** wants a verifier */
  readonly engine?: CreditEngine;
}

/**
 * Reads a problem and gives the work that is left; what an engine cannot be asked, for whatever reason of its own, is the
 * `error` of the result.
 *
 * @throws TypeError or RangeError where the problem is not one that can be credited by this configuration
 */
export function prepareCredit(
  problem: RecordedProblem,
  config: CreditConfig,
  means: CreditMeans = {},
): () => Promise<CreditedProblem> {
  const { verifier, engine } = means;
  const reading = readingOf(problem.rollouts, config.steps, config.tokenizer);
  const sequences = problem.rollouts.map((rollout, g) => read(rollout, g, reading));
  const task = engine && verifier && taskOf(problem, reading, engine, verifier);
  const filter = engine?.sources.includes("repair") === true ? repairFilterOf(engine, reading) : undefined;
  return async () => {
    const verdicts = verifier && (await missingVerdicts(problem, sequences, reading, verifier));
    const group = groupOf(problem, reading, sequences, task?.asked, verdicts);
    if (engine === undefined || task === undefined) return creditGroup(group, config);
    const { spent, error } = await correctGroup(group, task.task, { ...engine, ...(filter && { filter }) }, config);
    return { ...creditGroup(group, config), spent, ...(error !== undefined && { error }) };
  };
}

/** Judges rollouts without a reward as solutions that came to their end. */
async function missingVerdicts(
  problem: RecordedProblem,
  sequences: readonly Sequence[],
  { tokenizer }: Reading,
  verifier: TextVerifier,
): Promise<(Verdict | undefined)[]> {
  const asked: Problem = { id: String(problem.id), prompt: [], answer: problem["answer"] };
  const judged = async ({ text, reward }: RecordedRollout, g: number): Promise<Verdict | undefined> => {
    if (typeof reward === "number" || sequences[g].ids.length === 0) return undefined;
    if (text === undefined && tokenizer === undefined) return undefined;
    const solution = (ids: readonly number[]): string => text ?? (tokenizer as Tokenizer).decode(ids);
    return judge(({ answer }, ids) => verifier.verify(solution(ids), answer, true), asked, sequences[g].ids);
  };
  return Promise.all(problem.rollouts.map(judged));
}

/** Which repairs are believed; undefined: all that verify. */
function repairFilterOf(
  { repairTemplate, repairPlausibility: least, measure }: CreditEngine,
  { unit }: Reading,
): RepairFilter | undefined {
  const hint = hintIn(repairTemplate);
  if (least === 0) {
    if (hint === undefined) return undefined;
    throw new TypeError(`credit: expected repairPlausibility above 0, as repairTemplate shows ${hint}, received 0`);
  }
  if (measure === undefined) {
    throw new TypeError("credit: expected an engine with measure, as repairs are believed by it, received none");
  }
  if (unit !== "token") {
    throw new TypeError("rollouts: a repair is believed by the probabilities of its tokens, and these have none");
  }
  return plausibleRepairs(measure, least);
}

/** Longer than whatever is written: an engine's limit is that of one go. */
const unbounded = 2 ** 31 - 1;

/** The problem as the engine is asked, and what its answers are worth. */
function taskOf(
  problem: RecordedProblem,
  { segment, tokenizer, unit }: Reading,
  engine: CreditEngine,
  verifier: TextVerifier,
): { readonly asked: Problem; readonly task: TextTask } {
  if (tokenizer === undefined) throw new TypeError("rollouts: an engine's answers in tokens take a tokenizer to judge");
  const { template, repairTemplate, critiqueTemplate, critiqueTokens, stop } = engine;
  const prompt = promptOf(problem.prompt, tokenizer, engine.chat);
  const one: TextProblem = { id: String(problem.id), prompt: prompt.text, answer: problem["answer"] };
  const ask = (form: string, places: Readonly<Record<string, string>>): readonly number[] =>
    prompt.encode(fill(form, { prompt: prompt.text, ...places }));
  const task = textTask({
    problems: [one],
    tokenizer,
    prompt: () => prompt.ids ?? ask(template, {}),
    repairPrompt: ({ answer }, attempt, sibling) =>
      ask(repairTemplate, { attempt, answer: shownAnswer(answer), ...(sibling !== null && { sibling }) }),
    // A sibling is a reference already: nothing would be asked beside it.
    ...(repairTemplate.includes("{sibling}") && { repairOnly: "leaves-without-correction" as const }),
    critique: {
      prompt: (_, steps) => ask(critiqueTemplate, { attempt: steps.join(""), steps: numbered(steps) }),
      maxTokens: critiqueTokens,
    },
    verifier,
    segment,
    maxTokens: unbounded,
    ...(unit === "token" && stop !== undefined && { stop }),
    seed: engine.seed,
  });
  return { asked: task.encode(one), task };
}

interface Prompt {
  /** what stands for {prompt} */
  readonly text: string;
  /** a text in the prompt's place, as the engine is given it */
  readonly encode: (text: string) => readonly number[];
  /** the prompt itself, where it is recorded in tokens */
  readonly ids?: readonly number[];
}

/** Of messages the last one is the prompt; those before it stay. */
function promptOf(recorded: RecordedProblem["prompt"], tokenizer: Tokenizer, chat: boolean): Prompt {
  const encode = (text: string): readonly number[] => tokenizer.encode(text, true);
  if (typeof recorded === "string" && !chat) return { text: recorded, encode };
  if (recorded.length > 0 && Array.from(recorded).every((id) => Number.isInteger(id))) {
    const ids = recorded as readonly number[];
    return { text: tokenizer.decode(ids), encode, ids };
  }
  const messages = typeof recorded === "string" ? [{ role: "user", content: recorded }] : recorded;
  const last = messages.at(-1);
  if (!messages.every(isMessage) || !isMessage(last)) {
    throw new TypeError("prompt: expected a text, token ids or messages { role, content } for an engine");
  }
  if (!(tokenizer instanceof HuggingFaceTokenizer && tokenizer.hasChatTemplate)) {
    throw new TypeError("prompt: messages take a tokenizer with a chat template");
  }
  const before = messages.slice(0, -1);
  const written = (content: string): string => {
    try {
      return tokenizer.chat([...before, { ...last, content }]);
    } catch (error) {
      throw new TypeError(`prompt: the chat template refuses the messages: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  return { text: last.content, encode: (content) => tokenizer.encode(written(content)) };
}

function isMessage(value: unknown): value is ChatMessage {
  const { role, content } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return typeof role === "string" && typeof content === "string";
}

interface FilteredEngine extends CreditEngine {
  readonly filter?: RepairFilter;
}

/** Grows the group's tree by corrections, source by source, until one cannot be asked. */
async function correctGroup(
  group: RecordedGroup,
  task: TextTask,
  engine: FilteredEngine,
  { threshold }: CreditConfig,
): Promise<{ readonly spent: Spent; readonly error?: string }> {
  const trees = [group.tree];
  const seed = deriveSeed(engine.seed, `record ${String(group.problem.id)}`) % 2 ** 31;
  const sampler = limited(engine.sampler(seed, group.reading.unit), engine.maxTokens);
  const verifier: Verifier = (asked, completion, finished = true) => task.verify(asked, completion, finished);
  const config = { ...task, ...(threshold !== undefined && { threshold }) };
  let spent: Spent = { tokens: 0 };
  try {
    for (const source of engine.sources) {
      const report = await askFor(source, trees, sampler, verifier, config, engine);
      const tokens = Object.values(report).reduce((sum, one) => sum + one.tokens, spent.tokens);
      spent = { ...spent, ...report, tokens };
    }
  } catch (error) {
    if (!(error instanceof RemoteError)) throw error;
    return { spent, error: error.message };
  }
  return { spent };
}

async function askFor(
  source: CorrectionSource,
  trees: readonly Tree[],
  sampler: Sampler,
  verifier: Verifier,
  config: CorrectionConfig & Pick<TextTask, "repair" | "critique">,
  { samples, search: probing, filter }: FilteredEngine,
): Promise<Omit<Spent, "tokens">> {
  switch (source) {
    case "repair":
      if (config.repair === undefined) return {};
      return {
        repair: await repair(trees, sampler, verifier, config, {
          ...config.repair,
          perLeaf: samples,
          ...(filter && { filter }),
        }),
      };
    case "critique":
      if (config.critique === undefined) return {};
      return { critique: await critique(trees, sampler, verifier, config, { ...config.critique, samples }) };
    case "search":
      return { search: await search(trees, sampler, verifier, config, probing) };
    default:
      return source satisfies never;
  }
}

/** The same sampler, never asked for more at a time. */
function limited(sampler: Sampler, maxTokens: number): Sampler {
  return {
    sample: (requests) =>
      sampler.sample(requests.map((one) => ({ ...one, maxTokens: Math.min(one.maxTokens, maxTokens) }))),
  };
}
