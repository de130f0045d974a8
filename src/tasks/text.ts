/** Problems in words: a tokenizer, a template and a verifier make a task of a list of them, or of a source without end. */

import { deriveSeed, Random, shuffle } from "../random.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import type { Problem, RepairConfig, Segmenter } from "../trajectory/index.ts";
import type { TextVerifier } from "../verifiers/verifier.ts";
import type { Task } from "./task.ts";

export interface TextProblem {
  readonly id: string;
  readonly prompt: string;
  readonly answer: unknown;
}

/** Gives a new problem at every call; `random` is uniform in [0, 1). */
export type ProblemSource = (random: () => number) => TextProblem;

export interface TextTaskOptions {
  /** default "text" */
  readonly name?: string;
  readonly problems: readonly TextProblem[] | ProblemSource;
  /** whether a list has another order in every pass; default true. False: its own order in all of them */
  readonly shuffle?: boolean;
  readonly tokenizer: Tokenizer;
  /** the token ids that the policy continues; default the prompt's, with the tokenizer's special tokens */
  readonly prompt?: (problem: TextProblem) => readonly number[];
  /**
   * the token ids that ask for a repair of a failed solution, null: not of this one; default none, so there is no repair.
   * `sibling` is a successful solution of the same group; null: there is none to show.
   */
  readonly repairPrompt?: (problem: TextProblem, attempt: string, sibling: string | null) => readonly number[] | null;
  /** which failed solutions are asked for one; default those without a reference */
  readonly repairOnly?: RepairConfig["only"];
  /**
   * the token ids that ask for the number of a failed solution's first wrong step, counted from 1, and how many tokens a
   * critique may have; the last number that it writes counts. Default none.
   */
  readonly critique?: {
    readonly prompt: (problem: TextProblem, steps: readonly string[]) => readonly number[] | null;
    readonly maxTokens: number;
  };
  readonly verifier: TextVerifier;
  /** index of the first wrong step of a solution, −1: none; its steps must be those of `segment` */
  readonly firstWrongStep?: (problem: TextProblem, solution: string) => number;
  readonly segment: Segmenter;
  /** of a solution */
  readonly maxTokens: number;
  /** token ids that end a solution */
  readonly stop?: readonly number[];
  /** of the order of a list */
  readonly seed: number;
}

export interface TextTask extends Task {
  /** A problem of the list or another one, as the task gives them. */
  encode(problem: TextProblem): Problem;
}

/** A list gives every problem once before any a second time, in an order that changes from pass to pass. */
export function textTask(options: TextTaskOptions): TextTask {
  const {
    name = "text",
    problems,
    tokenizer,
    verifier,
    segment,
    maxTokens,
    stop,
    repairPrompt,
    repairOnly,
    critique,
    firstWrongStep,
  } = options;
  const { prompt = (problem: TextProblem) => tokenizer.encode(problem.prompt, true) } = options;
  const encode = (problem: TextProblem): Problem => {
    const { id, prompt: text, answer } = problem;
    return { id, prompt: prompt(problem), answer, text };
  };
  const textOf = ({ id, text, answer }: Problem): TextProblem => {
    if (text === undefined) throw new TypeError(`textTask: expected problem ${id} to have its text, received none`);
    return { id, prompt: text, answer };
  };
  return {
    name,
    vocabulary: tokenizer.vocabulary,
    maxTokens,
    ...(stop !== undefined && { stop }),
    segment,
    verify({ answer }, completion, finished = stop?.includes(completion[completion.length - 1]) === true) {
      return verifier.verify(tokenizer.decode(completion), answer, finished);
    },
    encode,
    ...(typeof problems === "function"
      ? { problem: (random: () => number) => encode(problems(random)) }
      : { count: problems.length, problem: passes(problems, options, encode) }),
    ...(firstWrongStep !== undefined && {
      firstWrongStep: (problem: Problem, completion: readonly number[]) =>
        firstWrongStep(textOf(problem), tokenizer.decode(completion)),
    }),
    ...(repairPrompt !== undefined && {
      repair: {
        prompt: (problem: Problem, failed: readonly number[], sibling?: readonly number[] | null) =>
          repairPrompt(textOf(problem), tokenizer.decode(failed), sibling ? tokenizer.decode(sibling) : null),
        ...(repairOnly !== undefined && { only: repairOnly }),
      },
    }),
    ...(critique !== undefined && {
      critique: {
        maxTokens: critique.maxTokens,
        ...(stop !== undefined && { stop }),
        prompt: (problem: Problem, steps: readonly (readonly number[])[]) =>
          critique.prompt(
            textOf(problem),
            steps.map((tokens) => tokenizer.decode(tokens)),
          ),
        parse: (written: readonly number[]) => {
          const number = tokenizer.decode(written).match(/\d+/g)?.at(-1);
          return number === undefined ? null : Number(number) - 1;
        },
        express: (step: number) => [...tokenizer.encode(String(step + 1)), ...(stop ?? []).slice(0, 1)],
      },
    }),
    write: (tokens) => tokenizer.decode(tokens),
  };
}

/** Pass after pass over a list; each problem is encoded once. */
function passes(
  problems: readonly TextProblem[],
  { seed, shuffle: shuffled = true }: Pick<TextTaskOptions, "seed" | "shuffle">,
  encode: (problem: TextProblem) => Problem,
): Task["problem"] {
  if (problems.length === 0) throw new RangeError("textTask: expected problems, received none");
  const encoded = new Map<TextProblem, Problem>();
  let order = problems;
  let pass = -1;
  return (_, index) => {
    const at = Math.floor(index / problems.length);
    if (shuffled && at !== pass) {
      pass = at;
      order = shuffle(problems, new Random(deriveSeed(seed, `pass ${pass}`)).next);
    }
    const problem = order[index % problems.length];
    const known = encoded.get(problem) ?? encode(problem);
    encoded.set(problem, known);
    return known;
  };
}
