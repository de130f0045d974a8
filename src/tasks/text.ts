/** Problems in words: a tokenizer, a template and a verifier make a task of a list of them. */

import { deriveSeed, Random, shuffle } from "../random.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import type { Problem, Segmenter } from "../trajectory/index.ts";
import type { TextVerifier } from "../verifiers/verifier.ts";
import type { Task } from "./task.ts";

export interface TextProblem {
  readonly id: string;
  readonly prompt: string;
  readonly answer: unknown;
}

export interface TextTaskOptions {
  readonly problems: readonly TextProblem[];
  readonly tokenizer: Tokenizer;
  /** the token ids that the policy continues; default the prompt's, with the tokenizer's special tokens */
  readonly prompt?: (problem: TextProblem) => readonly number[];
  /** the token ids that ask for a repair of a failed solution, null: not of this one; default none, so there is no repair */
  readonly repairPrompt?: (problem: TextProblem, attempt: string) => readonly number[] | null;
  readonly verifier: TextVerifier;
  readonly segment: Segmenter;
  /** of a solution */
  readonly maxTokens: number;
  /** token ids that end a solution */
  readonly stop?: readonly number[];
  /** of the order of problems */
  readonly seed: number;
}

export interface TextTask extends Task {
  /** A problem of the list or another one, as the task gives them. */
  encode(problem: TextProblem): Problem;
}

/** Gives every problem once before any a second time, in an order that changes from pass to pass. */
export function textTask(options: TextTaskOptions): TextTask {
  const { problems, tokenizer, verifier, segment, maxTokens, stop, seed, repairPrompt } = options;
  const { prompt = (problem: TextProblem) => tokenizer.encode(problem.prompt, true) } = options;
  if (problems.length === 0) throw new RangeError("textTask: expected problems, received none");
  // By id, because a run that goes on has problems from its checkpoint.
  const given = new Map(problems.map((problem) => [problem.id, problem]));
  const encode = (problem: TextProblem): Problem => {
    given.set(problem.id, problem);
    return { id: problem.id, prompt: prompt(problem), answer: problem.answer };
  };
  const encoded = new Map<TextProblem, Problem>();
  let order = problems;
  let pass = -1;
  return {
    name: "text",
    vocabulary: tokenizer.vocabulary,
    maxTokens,
    ...(stop !== undefined && { stop }),
    segment,
    verify({ answer }, completion) {
      const finished = stop?.includes(completion[completion.length - 1]) === true;
      return verifier.verify(tokenizer.decode(completion), answer, finished);
    },
    encode,
    problem(_, index) {
      const at = Math.floor(index / problems.length);
      if (at !== pass) {
        pass = at;
        order = shuffle(problems, new Random(deriveSeed(seed, `pass ${pass}`)).next);
      }
      const problem = order[index % problems.length];
      const known = encoded.get(problem) ?? encode(problem);
      encoded.set(problem, known);
      return known;
    },
    ...(repairPrompt !== undefined && {
      repair: {
        prompt: (problem: Problem, failed: readonly number[]) => {
          const text = given.get(problem.id);
          if (text === undefined) throw new Error(`textTask: problem ${problem.id} is not one of this task's`);
          return repairPrompt(text, tokenizer.decode(failed));
        },
      },
    }),
    write: (tokens) => tokenizer.decode(tokens),
  };
}
