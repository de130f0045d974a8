/** How recorded rollouts are read: as ids, which are tokens or the characters of a text, cut into steps. */

import type { RecordedRollout } from "./recorded.ts";
import { codePoints } from "./tokenizers/code-points.ts";
import { checkIds, type Tokenizer } from "./tokenizers/tokenizer.ts";
import { entropySteps, type EntropySteps } from "./trajectory/entropy-steps.ts";
import type { Range, Segmenter } from "./trajectory/problem.ts";
import { delimiter, fixedTokens, tokenLines } from "./trajectory/segment.ts";

/** Where steps end: after each line feed; after every so many tokens; after certain tokens; where the policy was unsure. */
export type StepRule =
  | { readonly kind: "newline" }
  | { readonly kind: "tokens"; readonly count: number }
  | { readonly kind: "delimiter"; readonly tokenIds: readonly number[] }
  | { readonly kind: "entropy"; readonly settings: EntropySteps };

/** A solution as ids, and where each of them begins in it as it was given. */
export interface Sequence {
  readonly ids: readonly number[];
  readonly steps: readonly Range[];
  readonly positionOf: (index: number) => number;
}

export interface Reading {
  /** what positions count */
  readonly unit: "token" | "utf16";
  readonly segment: Segmenter;
  /** what ids stand for; undefined: tokens that nobody here can read */
  readonly tokenizer: Tokenizer | undefined;
}

const lineFeed = 0x0a;

/**
 * Without a tokenizer a rule of lines reads characters, and every other rule reads tokens.
 * @param rule default the lines of rollouts that all have a text, or of all where there is a tokenizer; else a token a step
 */
export function readingOf(rollouts: readonly RecordedRollout[], rule?: StepRule, tokenizer?: Tokenizer): Reading {
  const chosen = rule ?? defaultSteps(rollouts, tokenizer);
  switch (chosen.kind) {
    case "newline":
      if (tokenizer === undefined) return { unit: "utf16", segment: delimiter([lineFeed]), tokenizer: codePoints };
      return { unit: "token", segment: tokenLines((token) => tokenizer.decode([token])), tokenizer };
    case "tokens":
      return { unit: "token", segment: fixedTokens(chosen.count), tokenizer };
    case "delimiter":
      return { unit: "token", segment: delimiter(chosen.tokenIds), tokenizer };
    case "entropy":
      return { unit: "token", segment: entropySteps(chosen.settings), tokenizer };
    default:
      return chosen satisfies never;
  }
}

function defaultSteps(rollouts: readonly RecordedRollout[], tokenizer: Tokenizer | undefined): StepRule {
  const readable = tokenizer !== undefined || rollouts.every(({ text }) => text !== undefined);
  return readable ? { kind: "newline" } : { kind: "tokens", count: 1 };
}

/** @throws TypeError where a rollout lacks what its steps are made of */
export function read(rollout: RecordedRollout, g: number, reading: Reading): Sequence {
  const { unit, segment } = reading;
  const ids = idsOf(rollout, g, reading);
  if (segment.byMeasure !== true) return sequence(ids, segment(ids), unit);
  const measured = { logprobs: rollout.logprobs ?? undefined, entropies: rollout.entropies ?? undefined };
  if ((measured.entropies ?? measured.logprobs)?.length !== ids.length) {
    throw new TypeError(`rollouts[${g}].logprobs: steps follow them or the entropies, and there is not one per token`);
  }
  return sequence(ids, segment(ids, measured), unit);
}

function idsOf({ text, tokens }: RecordedRollout, g: number, { unit, tokenizer }: Reading): readonly number[] {
  if (unit === "utf16") {
    if (text === undefined)
      throw new TypeError(`rollouts[${g}].text: lines are steps of a text, and it has only tokens`);
    return codePoints.encode(text);
  }
  if (tokens !== undefined) {
    if (tokenizer !== undefined) checkIds(`rollouts[${g}].tokens`, tokens, tokenizer.vocabulary);
    return tokens;
  }
  if (tokenizer === undefined || text === undefined) {
    throw new TypeError(`rollouts[${g}].tokens: steps are counted in tokens here, and it has only a text`);
  }
  return tokenizer.encode(text);
}

/** Characters are compared whole, so that no range parts the two units of one. */
export function sequence(ids: readonly number[], steps: readonly Range[], unit: Reading["unit"]): Sequence {
  if (unit === "token" || ids.every((id) => id <= 0xffff)) return { ids, steps, positionOf: (index) => index };
  const starts = new Uint32Array(ids.length + 1);
  ids.forEach((id, index) => (starts[index + 1] = starts[index] + (id > 0xffff ? 2 : 1)));
  return { ids, steps, positionOf: (index) => starts[index] };
}

export function positions({ start, end }: Range, { positionOf }: Sequence): Range {
  return { start: positionOf(start), end: positionOf(end) };
}
