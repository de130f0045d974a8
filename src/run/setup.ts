/** From a configuration to what it names: the policy, the task and the problems that are held out. */

import { openOps } from "../ops/native.ts";
import { TransformerPolicy, type TransformerOptions } from "../policies/transformer.ts";
import { deriveSeed, Random } from "../random.ts";
import { chainArithmetic, type ChainArithmetic } from "../tasks/chain-arithmetic.ts";
import type { Task } from "../tasks/task.ts";
import { textTask, type TextProblem } from "../tasks/text.ts";
import { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";
import { characterTokenizer, wordTokenizer } from "../tokenizers/symbols.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import {
  delimiter,
  fixedTokens,
  sentences,
  textSegmenter,
  tokenLines,
  type Problem,
  type Segmenter,
} from "../trajectory/index.ts";
import { openVerifier, type OpenedVerifier } from "../verifiers/index.ts";
import { ConfigError, type RunConfig } from "./config.ts";
import { readProblems } from "./problem-file.ts";
import { freshPolicy } from "./warm-start.ts";

export interface Setup {
  readonly policy: TransformerPolicy;
  readonly task: Task;
  readonly heldOut: readonly Problem[];
  /** the task, where the policy is fresh and can be taught by a demonstrator first */
  readonly demonstrator: ChainArithmetic | undefined;
  /** problems of the files that do not fit the policy's positions together with a solution */
  readonly leftOut: number;
}

/**
 * @param directory of the policy, where it is not the one that the configuration names
 * @throws ConfigError that names the field
 */
export async function setUp(config: RunConfig, directory?: string): Promise<Setup> {
  const from = directory ?? (config.policy === "fresh" ? undefined : config.policy);
  const options = { ops: openOps(config.device), recompute: config.recompute, dtype: config.dtype };
  const loaded = from === undefined ? undefined : await TransformerPolicy.load(from, options);
  return config.task === "problems" ? setUpProblems(config, loaded, options) : setUpChain(config, loaded, options);
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
  return {
    policy: loaded ?? freshPolicy(task, config.warmStartSeed, config, options),
    task,
    heldOut: heldOutChains(task, config),
    demonstrator: loaded === undefined ? task : undefined,
    leftOut: 0,
  };
}

async function setUpProblems(
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
  const verifier = await verifierOf(config);
  const { maxPositions } = policy.config;
  const prompt = promptEncoder(config, tokenizer);
  const promptRoom = maxPositions - config.maxTokens;
  const prompts = new Map<TextProblem, readonly number[]>();
  let leftOut = 0;
  const fitting = (problems: readonly TextProblem[]): TextProblem[] => {
    const kept = problems.filter((problem) => {
      const ids = prompt(fill(config.template, problem.prompt));
      if (ids.length <= promptRoom) prompts.set(problem, ids);
      return ids.length <= promptRoom;
    });
    leftOut += problems.length - kept.length;
    return kept;
  };

  const { evaluationProblems } = config;
  let problems = fitting(await readProblems(config.problems));
  let heldOut: TextProblem[];
  if (config.heldOut !== "") {
    heldOut = fitting(await readProblems(config.heldOut)).slice(0, evaluationProblems);
  } else {
    heldOut = evaluationProblems === 0 ? [] : problems.slice(-evaluationProblems);
    problems = problems.slice(0, problems.length - heldOut.length);
  }
  if (problems.length === 0) {
    throw new ConfigError(
      leftOut > 0
        ? `maxTokens: expected room for it and a prompt in the policy's ${maxPositions} positions, received ${config.maxTokens}; no problem is left to train on`
        : `evaluationProblems: expected fewer than ${config.problems} holds, received ${evaluationProblems}; no problem is left to train on`,
    );
  }
  const stop = [...policy.endTokens, ...config.stop.map((text) => tokenId("stop", text, tokenizer))];
  const end = tokenizer.idOf(endSymbol);
  const task = textTask({
    problems,
    tokenizer,
    prompt: (problem) => prompts.get(problem) ?? [],
    ...(config.repairTemplate !== "" && {
      repairPrompt: (problem: TextProblem, attempt: string) => {
        const asked = prompt(fill(config.repairTemplate, problem.prompt, attempt));
        return asked.length <= promptRoom ? asked : null;
      },
    }),
    verifier,
    segment: segmenterOf(config.steps, tokenizer),
    maxTokens: config.maxTokens,
    stop: end === undefined ? stop : [...stop, end],
    seed: deriveSeed(config.seed, "problems"),
  });
  return { policy, task, heldOut: heldOut.map((problem) => task.encode(problem)), demonstrator: undefined, leftOut };
}

async function verifierOf(config: RunConfig): Promise<OpenedVerifier> {
  const { verifier, answerMarker: marker, verifierSeconds: seconds, verifierConcurrency: concurrency } = config;
  try {
    return await openVerifier(verifier, { marker, seconds, concurrency, containment: config.pythonContainment });
  } catch (error) {
    throw new ConfigError(`verifier: ${(error as Error).message}`, { cause: error });
  }
}

/** What symbol tokenizers end a text with. */
const endSymbol = "<end>";

async function openTokenizer(config: RunConfig, policy: TransformerPolicy | undefined): Promise<Tokenizer> {
  switch (config.tokenizer) {
    case "auto":
      if (policy?.tokenizer === undefined) {
        throw new ConfigError(
          `tokenizer: expected tokenizer.json in ${config.policy}, as tokenizer is auto, found none`,
        );
      }
      return policy.tokenizer;
    case "characters":
      return characterTokenizer(config.symbols, [endSymbol]);
    case "words":
      return wordTokenizer(config.symbols.split(" "), [endSymbol]);
    default:
      return HuggingFaceTokenizer.load(config.tokenizer);
  }
}

function startedPolicy(config: RunConfig, vocabulary: number, options: TransformerOptions): TransformerPolicy {
  const { layers, hidden, heads, intermediate, maxPositions } = config;
  const { next: random } = new Random(deriveSeed(config.seed, "policy"));
  const size = { vocabulary, layers, hidden, heads, intermediate, maxPositions };
  return TransformerPolicy.create(size, { random }, options);
}

/** A text to the tokens that the policy continues. */
function promptEncoder(config: RunConfig, tokenizer: Tokenizer): (text: string) => number[] {
  if (!config.chat) return (text) => tokenizer.encode(text, true);
  if (!(tokenizer instanceof HuggingFaceTokenizer && tokenizer.hasChatTemplate)) {
    throw new ConfigError("chat: expected a tokenizer with a chat template, found none");
  }
  return (content) => tokenizer.encode(tokenizer.chat([{ role: "user", content }]));
}

const fill = (template: string, prompt: string, attempt = ""): string =>
  template.replace(/\{(prompt|attempt)\}/g, (_, name) => (name === "prompt" ? prompt : attempt));

function segmenterOf(steps: string, tokenizer: Tokenizer): Segmenter {
  const [kind, value] = steps.split(/:(.*)/s);
  if (kind === "tokens") return fixedTokens(Number(value));
  if (kind === "sentences") return textSegmenter(sentences, (tokens) => tokenizer.decode(tokens));
  if (kind === "delimiter") return delimiter([tokenId("steps", value, tokenizer)]);
  const texts = new Map<number, string>();
  return tokenLines((token) => {
    const known = texts.get(token) ?? tokenizer.decode([token]);
    texts.set(token, known);
    return known;
  });
}

/** The one token that a text is. */
function tokenId(field: string, text: string, tokenizer: Tokenizer): number {
  const special = tokenizer.idOf(text);
  if (special !== undefined) return special;
  const ids = tokenizer.encode(text);
  if (ids.length !== 1) {
    throw new ConfigError(
      `${field}: expected a single token, received ${JSON.stringify(text)}, which is ${ids.length}`,
    );
  }
  return ids[0];
}
