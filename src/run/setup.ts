/** From a configuration to what it names: the policy, the task and the problems that are held out. */

import { openOps } from "../ops/native.ts";
import { TransformerPolicy, type TransformerOptions } from "../policies/transformer.ts";
import { deriveSeed, Random } from "../random.ts";
import { chainArithmetic, type ChainArithmetic } from "../tasks/chain-arithmetic.ts";
import type { ProceduralTask } from "../tasks/procedural/procedural-task.ts";
import type { Task } from "../tasks/task.ts";
import { fill, numbered, shownAnswer } from "../tasks/template.ts";
import { textTask, type TextProblem } from "../tasks/text.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import type { Problem } from "../trajectory/index.ts";
import { openVerifier, type OpenedVerifier } from "../verifiers/index.ts";
import { ConfigError, proceduralOf, type RunConfig } from "./config.ts";
import { drawLists, readLists } from "./problem-lists.ts";
import { isSymbolic, openTokenizer, promptEncoder, segmenterOf, stopTokens, writtenFor } from "./text-setup.ts";
import {
  critiqueExamples,
  demonstration,
  repairLessons,
  taughtCritiques,
  type Demonstrator,
} from "./text-demonstrations.ts";
import {
  demonstrationDefaults,
  freshPolicy,
  repairExamples,
  repairPairsOf,
  warmStart,
  warmStartOf,
  warmStartOn,
  type StepListener,
} from "./warm-start.ts";

export interface Setup {
  readonly policy: TransformerPolicy;
  readonly task: Task;
  readonly heldOut: readonly Problem[];
  /** of a task in text */
  readonly tokenizer?: Tokenizer;
  /** Trains the policy on demonstrations; only where it is fresh and a program makes the problems. */
  readonly warmStart: ((onStep: StepListener) => Promise<void>) | undefined;
  /** what a person should know: problems that are left out */
  readonly told: readonly string[];
}

/**
 * @param directory of the policy, where it is not the one that the configuration names
 * @throws ConfigError that names the field
 */
export async function setUp(config: RunConfig, directory?: string): Promise<Setup> {
  const from = directory ?? (config.policy === "fresh" ? undefined : config.policy);
  const options = { ops: openOps(config.device), recompute: config.recompute, dtype: config.dtype };
  const loaded = from === undefined ? undefined : await TransformerPolicy.load(from, options);
  return config.task === "chain-arithmetic" ? setUpChain(config, loaded, options) : setUpText(config, loaded, options);
}

/** The held-out problems of chain arithmetic: those of all runs whose policies had one start. */
export function heldOutChains(task: ChainArithmetic, config: RunConfig): Problem[] {
  const random = new Random(deriveSeed(config.warmStartSeed, "held-out problems"));
  return Array.from({ length: config.evaluationProblems }, () => task.problem(random.next));
}

function setUpChain(config: RunConfig, loaded: TransformerPolicy | undefined, options: TransformerOptions): Setup {
  const task = chainArithmetic({ repairFormat: config.repairFormat });
  if (loaded !== undefined) {
    const { vocabulary, maxPositions } = loaded.config;
    if (vocabulary < task.vocabulary || maxPositions < task.maxPositions) {
      throw new ConfigError(
        `policy: expected at least ${task.vocabulary} tokens and ${task.maxPositions} positions for ${task.name}, ` +
          `received ${vocabulary} and ${maxPositions}`,
      );
    }
  }
  const policy = loaded ?? freshPolicy(task, config.warmStartSeed, config, options);
  const settings = warmStartOf(config);
  return {
    policy,
    task,
    heldOut: heldOutChains(task, config),
    warmStart: loaded === undefined ? (onStep) => warmStart(policy, task, settings, onStep) : undefined,
    told: [],
  };
}

async function setUpText(
  config: RunConfig,
  loaded: TransformerPolicy | undefined,
  options: TransformerOptions,
): Promise<Setup> {
  const tokenizer = await openTokenizer(config, loaded);
  const policy = loaded ?? startedPolicy(config, tokenizer.vocabulary, options);
  if (tokenizer.vocabulary > policy.vocabulary) {
    throw new ConfigError(
      `tokenizer: expected at most the policy's ${policy.vocabulary} tokens, received ${tokenizer.vocabulary}`,
    );
  }
  const made = proceduralOf(config);
  const maxTokens = made === undefined ? config.maxTokens : solutionTokens(config, made);
  const promptRoom = policy.config.maxPositions - maxTokens;
  const [encode, written] = [promptEncoder(config, tokenizer), writtenFor(config)];
  const prompt = (problem: TextProblem): number[] => encode(fill(config.template, { prompt: written(problem.prompt) }));
  const room = {
    fits: (problem: TextProblem) => prompt(problem).length <= promptRoom,
    positions: policy.config.maxPositions,
  };
  /** Null: too long for a solution to follow. */
  const asked = (template: string, problem: TextProblem, places: Readonly<Record<string, string>>): number[] | null => {
    const tokens = encode(fill(template, { prompt: written(problem.prompt), ...places }));
    return tokens.length <= promptRoom ? tokens : null;
  };
  const lists = made === undefined ? await readLists(config, room) : drawLists(config, made, room);
  const { training, heldOut, told } = lists;
  const stop = stopTokens(config, policy, tokenizer);
  const task = textTask({
    name: made?.name ?? "text",
    problems: training,
    shuffle: config.shuffle,
    tokenizer,
    prompt,
    ...(config.repairTemplate !== "" && {
      repairPrompt: (problem: TextProblem, attempt: string, sibling: string | null) => {
        const shown = { attempt, answer: written(shownAnswer(problem.answer)) };
        return asked(config.repairTemplate, problem, sibling === null ? shown : { ...shown, sibling });
      },
      // A sibling is a reference already: nothing would be asked beside it.
      ...(config.repairTemplate.includes("{sibling}") && { repairOnly: "leaves-without-correction" as const }),
    }),
    ...(config.critiqueTemplate !== "" && {
      critique: {
        prompt: (problem: TextProblem, steps: readonly string[]) =>
          asked(config.critiqueTemplate, problem, { attempt: steps.join(""), steps: numbered(steps) }),
        maxTokens: config.critiqueTokens,
      },
    }),
    verifier: made?.verifier ?? (await verifierOf(config)),
    // Its checker counts lines.
    ...(made !== undefined && config.steps === "newline" && { firstWrongStep: made.firstWrongStep }),
    segment: segmenterOf(config.steps, tokenizer),
    maxTokens,
    stop,
    seed: deriveSeed(config.seed, "problems"),
  });

  const draw = (random: () => number): TextProblem =>
    typeof training === "function" ? training(random) : training[Math.floor(random() * training.length)];
  const demonstrator = {
    task,
    tokenizer,
    written,
    noise: config.warmStartNoise,
    positions: policy.config.maxPositions,
  };
  return {
    policy,
    task,
    tokenizer,
    heldOut: heldOut.map((problem) => task.encode(problem)),
    warmStart:
      made !== undefined && loaded === undefined
        ? (onStep) => startOn(policy, { ...demonstrator, made, draw }, config, onStep)
        : undefined,
    told,
  };
}

/** Teaches a policy a procedural task by demonstrations and, where the configuration says so, repairs and critiques of them. */
function startOn(policy: TransformerPolicy, by: Demonstrator, config: RunConfig, onStep: StepListener): Promise<void> {
  const repairs = repairLessons(by);
  const { warmStartSteps: steps, warmStartSeed: seed, warmStartCritiques } = config;
  const lessons = {
    demonstrate: (random: () => number) => demonstration(by, random),
    others: (random: Random) => [
      ...(repairs === undefined ? [] : repairExamples(repairs, repairPairsOf(config), random)),
      ...(warmStartCritiques ? critiqueExamples(by, taughtCritiques, random.next) : []),
    ],
  };
  return warmStartOn(policy, lessons, { ...demonstrationDefaults, steps, seed }, onStep);
}

async function verifierOf(config: RunConfig): Promise<OpenedVerifier> {
  const { verifier, answerMarker: marker, verifierSeconds: seconds, verifierConcurrency: concurrency } = config;
  try {
    return await openVerifier(verifier, { marker, seconds, concurrency, containment: config.pythonContainment });
  } catch (error) {
    throw new ConfigError(`verifier: ${(error as Error).message}`, { cause: error });
  }
}

/** Tokens of the longest solution that a procedural task asks for, where a character is a token; else the configuration's. */
function solutionTokens(config: RunConfig, task: ProceduralTask): number {
  if (!isSymbolic(config)) return config.maxTokens;
  const needed = task.levels[config.level - 1].solutionLength + 1;
  if (config.maxTokens < needed) {
    throw new ConfigError(
      `maxTokens: expected at least ${needed} for ${task.name} at level ${config.level}, received ${config.maxTokens}`,
    );
  }
  return needed;
}

function startedPolicy(config: RunConfig, vocabulary: number, options: TransformerOptions): TransformerPolicy {
  const { layers, hidden, heads, intermediate, maxPositions } = config;
  // Runs of several seeds on one procedural task have one start, as its demonstrations have.
  const seed = proceduralOf(config) === undefined ? config.seed : config.warmStartSeed;
  const { next: random } = new Random(deriveSeed(seed, "policy"));
  const size = { vocabulary, layers, hidden, heads, intermediate, maxPositions };
  return TransformerPolicy.create(size, { random }, options);
}
