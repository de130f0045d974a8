/** What a fresh policy is taught of a procedural task in text: solutions that slip and, where it is to, repairs and critiques of them. */

import type { ProceduralTask } from "../tasks/procedural/procedural-task.ts";
import type { TextProblem, TextTask } from "../tasks/text.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import { critiqueSequence, splitSteps, type Problem } from "../trajectory/index.ts";
import { ConfigError } from "./config.ts";
import type { Example, RepairLessons } from "./warm-start.ts";

export interface Demonstrator {
  readonly made: ProceduralTask;
  readonly task: TextTask;
  readonly tokenizer: Tokenizer;
  /** a text as the tokenizer wants it */
  readonly written: (text: string) => string;
  /** probability of a slip wherever one can be made */
  readonly noise: number;
  /** longest sequence, in tokens */
  readonly positions: number;
  /** a problem to train on */
  readonly draw: (random: () => number) => TextProblem;
}

/** A problem with a solution that may slip. */
export function demonstration(by: Demonstrator, random: () => number): Example {
  const problem = by.draw(random);
  const { prompt } = by.task.encode(problem);
  const tokens = [...prompt, ...attempt(by, problem, random)];
  return { tokens: tokens.slice(0, by.positions), from: prompt.length };
}

/** What pairs of attempts that teach repairs are made of; undefined where the task asks for none. */
export function repairLessons(by: Demonstrator): RepairLessons | undefined {
  const { made, task, tokenizer } = by;
  if (task.repair === undefined) return undefined;
  const textOf = ({ id, text = "", answer }: Problem): TextProblem => ({ id, prompt: text, answer });
  const decode = (tokens: readonly number[]): string => tokenizer.decode(tokens);
  return {
    problem: (random) => task.encode(by.draw(random)),
    demonstrate: (problem, random) => attempt(by, textOf(problem), random),
    passes: (problem, completion) => made.verifier.verify(decode(completion), problem.answer) === 1,
    hindsight(problem, completion) {
      const answer = made.ending?.(decode(completion)) ?? null;
      return answer === null ? null : { ...problem, answer };
    },
    blank: [],
    repair: task.repair,
  };
}

/** Critiques that `warmStartCritiques` teaches. */
export const taughtCritiques = 4000;

/** Draws in vain, per example, after which a task is taken to have none. */
const patience = 200;

/**
 * So many failed solutions with the number of the first step that differs from one of the same problem that passed. Which of the
 * two passed takes the answer.
 * @throws ConfigError where the demonstrations of a problem hardly ever pass and fail
 */
export function critiqueExamples(by: Demonstrator, count: number, random: () => number): Example[] {
  const examples: Example[] = [];
  for (let draws = 0; examples.length < count; draws++) {
    if (draws === patience * count) {
      throw new ConfigError(
        `warmStartCritiques: expected ${count} problems with one demonstration that passes and one that fails and fits, found ` +
          `${examples.length} in ${draws}`,
      );
    }
    const example = critiqueExample(by, random);
    if (example !== null && example.tokens.length <= by.positions) examples.push(example);
  }
  return examples;
}

/** Null: both attempts passed, or none; or the task asks for no critique of the one that failed. */
function critiqueExample(by: Demonstrator, random: () => number): Example | null {
  const { task, made, tokenizer } = by;
  const problem = by.draw(random);
  const attempts = [attempt(by, problem, random), attempt(by, problem, random)];
  const [one, other] = attempts.map((tokens) => made.verifier.verify(tokenizer.decode(tokens), problem.answer));
  if (task.critique === undefined || one === other) return null;
  const [failed, passed] = (one === 1 ? attempts.toReversed() : attempts).map((tokens) =>
    splitSteps(tokens, task.segment),
  );
  return critiqueSequence(task.critique, task.encode(problem), failed, passed);
}

function attempt({ made, tokenizer, written, noise, task }: Demonstrator, problem: TextProblem, random: () => number) {
  const solution = made.demonstrate(problem, random, noise);
  return [...tokenizer.encode(written(solution)), ...(task.stop ?? []).slice(0, 1)];
}
