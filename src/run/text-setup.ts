/** What lies between a configuration's texts and a policy's tokens: the tokenizer, the prompt and the steps. */

import type { TransformerPolicy } from "../policies/transformer.ts";
import type { ProceduralTask } from "../tasks/procedural/procedural-task.ts";
import { fill, numbered } from "../tasks/template.ts";
import { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";
import { characterTokenizer, wordTokenizer } from "../tokenizers/symbols.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import { parseEntropySteps } from "../trajectory/entropy-steps.ts";
import {
  delimiter,
  entropySteps,
  fixedTokens,
  sentences,
  textSegmenter,
  tokenLines,
  type Segmenter,
} from "../trajectory/index.ts";
import { ConfigError, proceduralOf, type RunConfig } from "./config.ts";

/** What symbol tokenizers end a text with. */
export const endSymbol = "<end>";

/** Whether a character of a text, as `writtenFor` writes it, is a token of its own. */
export function isSymbolic({ tokenizer, policy, task }: RunConfig): boolean {
  const ofTask = tokenizer === "auto" && policy === "fresh" && task !== "problems";
  return tokenizer === "characters" || tokenizer === "words" || ofTask;
}

/** A text as the tokenizer wants it: where a procedural task is written in words, each of its characters is one. */
export function writtenFor(config: RunConfig): (text: string) => string {
  const spaced = config.tokenizer === "words" && proceduralOf(config) !== undefined;
  return spaced ? (text) => Array.from(text).join(" ") : (text) => text;
}

/** @throws ConfigError where there is none, or where it lacks characters of the task */
export async function openTokenizer(config: RunConfig, policy: TransformerPolicy | undefined): Promise<Tokenizer> {
  const tokenizer = await tokenizerOf(config, policy);
  const task = proceduralOf(config);
  const missing = Array.from(task?.alphabet ?? "").find((symbol) => tokenizer.idOf(symbol) === undefined);
  if (isSymbolic(config) && missing !== undefined) {
    throw new ConfigError(
      `symbols: expected all that ${config.task} is written in, found no ${JSON.stringify(missing)}`,
    );
  }
  return tokenizer;
}

/** The characters of a task, and those besides in which its critiques are asked for and written. */
function symbolsOf({ critiqueTemplate }: RunConfig, { alphabet }: ProceduralTask): string {
  if (critiqueTemplate === "") return alphabet;
  const asked = fill(critiqueTemplate, { prompt: "", attempt: "", steps: numbered(["0123456789", ""]) });
  return Array.from(new Set(alphabet + asked + "0123456789")).join("");
}

async function tokenizerOf(config: RunConfig, policy: TransformerPolicy | undefined): Promise<Tokenizer> {
  const task = proceduralOf(config);
  switch (config.tokenizer) {
    case "auto":
      if (task !== undefined && config.policy === "fresh")
        return characterTokenizer(symbolsOf(config, task), [endSymbol]);
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

/** A text to the tokens that the policy continues. */
export function promptEncoder(config: RunConfig, tokenizer: Tokenizer): (text: string) => number[] {
  if (!config.chat) return (text) => tokenizer.encode(text, true);
  if (!(tokenizer instanceof HuggingFaceTokenizer && tokenizer.hasChatTemplate)) {
    throw new ConfigError("chat: expected a tokenizer with a chat template, found none");
  }
  return (content) => tokenizer.encode(tokenizer.chat([{ role: "user", content }]));
}

export function segmenterOf(steps: string, tokenizer: Tokenizer): Segmenter {
  const [kind, value] = steps.split(/:(.*)/s);
  if (kind === "tokens") return fixedTokens(Number(value));
  if (kind === "sentences") return textSegmenter(sentences, (tokens) => tokenizer.decode(tokens));
  if (kind === "delimiter") return delimiter([tokenId("steps", value, tokenizer)]);
  const unsure = kind === "entropy" ? parseEntropySteps(value) : undefined;
  if (unsure !== undefined) return entropySteps(unsure);
  const texts = new Map<number, string>();
  return tokenLines((token) => {
    const known = texts.get(token) ?? tokenizer.decode([token]);
    texts.set(token, known);
    return known;
  });
}

/** The tokens that end a solution. */
export function stopTokens(config: RunConfig, policy: TransformerPolicy, tokenizer: Tokenizer): number[] {
  const end = tokenizer.idOf(endSymbol);
  const stop = [...policy.endTokens, ...config.stop.map((text) => tokenId("stop", text, tokenizer))];
  return end === undefined ? stop : [...stop, end];
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
