/** The problems that a configuration names: those to train on and those that are held out. */

import { deriveSeed, Random } from "../random.ts";
import type { ProceduralTask } from "../tasks/procedural/procedural-task.ts";
import { distinctProblems, proceduralSource } from "../tasks/procedural/source.ts";
import type { ProblemSource, TextProblem } from "../tasks/text.ts";
import { ConfigError, type RunConfig } from "./config.ts";
import { readProblems, splitProblems, type ProblemSet } from "./problem-file.ts";

export interface ProblemLists {
  /** a list with at least one, or a source without end; none of them is held out */
  readonly training: readonly TextProblem[] | ProblemSource;
  readonly heldOut: readonly TextProblem[];
  /** what a person should know about them */
  readonly told: readonly string[];
}

/** What a policy has room for. */
export interface Room {
  /** whether a problem fits, together with a solution */
  readonly fits: (problem: TextProblem) => boolean;
  /** tokens of the longest sequence */
  readonly positions: number;
}

/**
 * Reads the files of a configuration.
 * @throws ConfigError that names the field or the place in the file; also where no problem is left to train on
 */
export async function readLists(config: RunConfig, { fits, positions }: Room): Promise<ProblemLists> {
  const { evaluationProblems, heldOut: heldOutFile, split, splitSeed, maxProblems } = config;
  const fields = { prompt: config.promptField, answer: config.answerField, id: config.idField };
  const most = maxProblems > 0 ? { most: maxProblems, seed: splitSeed } : {};
  const read = await readProblems(config.problems, { fields, fits, ...most });
  const told = passedOver(config.problems, read);
  let training = read.problems;
  let heldOut: readonly TextProblem[] = [];
  if (heldOutFile !== "" && evaluationProblems > 0) {
    const others = await readProblems(heldOutFile, { fields, fits, first: evaluationProblems });
    told.push(...passedOver(heldOutFile, others));
    heldOut = others.problems;
    const prompts = new Set(heldOut.map(({ prompt }) => prompt));
    training = read.problems.filter(({ prompt }) => !prompts.has(prompt));
    const common = read.problems.length - training.length;
    if (common > 0)
      told.push(`${common} problems of ${config.problems} are held out by ${heldOutFile}: not trained on`);
  } else if (heldOutFile === "" && split < 1) {
    const sides = splitProblems(read.problems, split, splitSeed);
    training = sides.training;
    heldOut = sides.heldOut.slice(0, evaluationProblems);
  } else if (heldOutFile === "" && evaluationProblems > 0) {
    training = read.problems.slice(0, -evaluationProblems);
    heldOut = read.problems.slice(-evaluationProblems);
  }
  if (training.length === 0) throw noneLeft(config, read, positions);
  return { training, heldOut, told };
}

function passedOver(path: string, { leftOut, duplicates, firstDuplicate }: ProblemSet): string[] {
  return [
    ...(leftOut > 0 ? [`${leftOut} problems of ${path} are left out: they are too long for the policy`] : []),
    ...(duplicates > 0 ? [`${duplicates} problems of ${path} are passed over: ${firstDuplicate}`] : []),
  ];
}

function noneLeft(config: RunConfig, { leftOut }: ProblemSet, positions: number): ConfigError {
  const { maxTokens, evaluationProblems, split, problems, heldOut } = config;
  const expected =
    leftOut > 0
      ? `maxTokens: expected room for it and a prompt in the policy's ${positions} positions, received ${maxTokens}`
      : heldOut !== ""
        ? `heldOut: expected other problems than ${problems} has, received ${heldOut}`
        : split < 1
          ? `split: expected a share that leaves problems of ${problems}, received ${split}`
          : `evaluationProblems: expected fewer than ${problems} holds, received ${evaluationProblems}`;
  return new ConfigError(`${expected}; no problem is left to train on`);
}

/**
 * The problems of a procedural task: the held-out ones are drawn first, all different, and no other draw gives one of them.
 * @throws ConfigError where the level has too few problems, or none that fits
 */
export function drawLists(config: RunConfig, task: ProceduralTask, { fits, positions }: Room): ProblemLists {
  const { level, evaluationProblems, maxProblems, warmStartSeed, splitSeed } = config;
  const random = (seed: number, purpose: string) => new Random(deriveSeed(seed, purpose)).next;
  const field = (
    name: "maxTokens" | "evaluationProblems" | "maxProblems",
    expected: string,
    draw: () => TextProblem[],
  ) => {
    try {
      return draw();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const received = `received ${config[name]}`;
      throw new ConfigError(`${name}: expected ${expected} ${task.name} at level ${level}, ${received}`, {
        cause: error,
      });
    }
  };
  const fitting = proceduralSource(task, level, fits);
  field("maxTokens", `room for it and a prompt in the policy's ${positions} positions, for`, () => [
    fitting(random(0, "probe")),
  ]);
  const heldOut = field("evaluationProblems", "fewer problems than there are of", () =>
    distinctProblems(fitting, evaluationProblems, random(warmStartSeed, "held-out problems")),
  );
  const ids = new Set(heldOut.map(({ id }) => id));
  const source = proceduralSource(task, level, (problem) => fits(problem) && !ids.has(problem.id));
  field("evaluationProblems", "fewer problems than there are of", () => [source(random(0, "probe"))]);
  const training = field("maxProblems", "no more problems than there are of", () =>
    distinctProblems(source, maxProblems, random(splitSeed, "problems")),
  );
  return { training: maxProblems > 0 ? training : source, heldOut, told: [] };
}
