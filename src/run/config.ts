/** The configuration of a run: one flat record, checked and filled in, read and written as YAML. */

import { closest } from "fastest-levenshtein";
import { parse, stringify } from "yaml";
import { z } from "zod";

import { proceduralTasks } from "../tasks/procedural/index.ts";
import type { ProceduralTask } from "../tasks/procedural/procedural-task.ts";
import { hintIn, needs } from "../tasks/template.ts";
import { parseEntropySteps } from "../trajectory/entropy-steps.ts";
import { fields, sections } from "./config-fields.ts";
import type { LoopConfig } from "./loop.ts";

const schema = z.strictObject(fields);
const keys = Object.keys(fields);

/** A resolved configuration: every field has a value. */
export type RunConfig = Readonly<z.infer<typeof schema>>;

/** What leaves the field out gets its default. */
export type RunSettings = Readonly<z.input<typeof schema>>;

/** A configuration that cannot be run as it is; the message names where it comes from and the field. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * Checks a record and fills in what it leaves out.
 * @param where its source, for messages
 * @throws ConfigError that names the field, what it should be and what it is; of an unknown field the nearest known one
 */
export function resolveRun(values: unknown, where: string): RunConfig {
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw new ConfigError(`${where}: expected a record of fields, received ${JSON.stringify(values)}`);
  }
  for (const key of Object.keys(values)) {
    if (!Object.hasOwn(fields, key)) {
      throw new ConfigError(`${where}: unknown field ${key} (did you mean ${closest(key, keys)}?)`);
    }
  }
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    const received = JSON.stringify((values as Record<PropertyKey, unknown>)[path[0]]);
    throw new ConfigError(`${where}: ${path.join(".")}: ${message}, received ${received}`);
  }
  checkTogether(parsed.data, where);
  return parsed.data;
}

/** The rules between fields. */
function checkTogether(config: RunConfig, where: string): void {
  const require = (holds: boolean, field: keyof RunConfig, expected: string): void => {
    if (holds) return;
    throw new ConfigError(`${where}: ${field}: expected ${expected}, received ${JSON.stringify(config[field])}`);
  };
  const { task, policy, template, repairTemplate, heads, hidden } = config;
  require(hidden % (2 * heads) === 0, "hidden", `a multiple of twice the ${heads} heads`);
  require(isStepRule(
    config.steps,
  ), "steps", "newline, sentences, tokens:N, delimiter:TEXT, entropy:NATS or entropy:P%");
  require(task !== "problems" || config.problems !== "", "problems", "a file, as task is problems");
  const procedural = proceduralOf(config);
  const levels = procedural?.levels.length ?? Infinity;
  require(config.level <= levels, "level", `at most ${levels}, the hardest of ${task}`);
  require(!config.curriculum ||
    task === "problems" ||
    (procedural !== undefined &&
      config.maxProblems > 0), "curriculum", "a list of problems: task problems, or maxProblems of a procedural task");
  require(repairTemplate === "" ||
    config.warmStartRepairs !== "hindsight" ||
    procedural === undefined ||
    procedural.ending !== undefined, "warmStartRepairs", `verified or none, as prompts of ${task} hold the answer`);
  require(template.includes("{prompt}"), "template", "{prompt} in it");
  require(repairTemplate === "" || repairTemplate.includes("{attempt}"), "repairTemplate", "{attempt} in it");
  require(config.critiqueTemplate === "" ||
    config.critiqueTemplate.includes("{steps}"), "critiqueTemplate", "{steps} in it");
  require(!config.warmStartCritiques ||
    (procedural !== undefined &&
      config.critiqueTemplate !== "" &&
      config.tokenizer !== "words" &&
      !config.steps.startsWith(
        entropyRule,
      )), "warmStartCritiques", "a procedural task in text, a critiqueTemplate, and neither words nor steps by entropy");
  require(!needs(repairTemplate, "sibling"), "repairTemplate", "{sibling} between {#sibling} and {/sibling}");
  const hint = hintIn(repairTemplate);
  require(hint === undefined ||
    config.repairPlausibility > 0, "repairPlausibility", `more than 0, as repairTemplate shows ${hint}`);
  require(policy !== "fresh" ||
    task !== "problems" ||
    config.tokenizer !== "auto", "tokenizer", "characters, words or a directory, as policy is fresh");
}

/** The task of a configuration, where it is a procedural one in text. */
export function proceduralOf({ task }: Pick<RunConfig, "task">): ProceduralTask | undefined {
  return task === "problems" || task === "chain-arithmetic" ? undefined : proceduralTasks[task];
}

const entropyRule = "entropy:";

function isStepRule(steps: string): boolean {
  if (steps.startsWith(entropyRule)) return parseEntropySteps(steps.slice(entropyRule.length)) !== undefined;
  return /^(newline|sentences|tokens:[1-9]\d*|delimiter:.+)$/s.test(steps);
}

/** Reads YAML (or JSON, which it holds). Throws a ConfigError with the place where it cannot be read. */
export function parseYaml(text: string, where: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (error) {
    throw new ConfigError(`${where}: ${(error as Error).message}`, { cause: error });
  }
}

/** Text as YAML, every field with its meaning above it. */
export function writeRun(config: RunConfig, comments: boolean): string {
  const lines: string[] = [];
  for (const [title, section] of Object.entries(sections)) {
    if (comments) lines.push(`# ── ${title}`, "");
    for (const [key, field] of Object.entries<z.ZodType>(section)) {
      if (comments) lines.push(`# ${field.description ?? ""}`);
      const value = { [key]: config[key as keyof RunConfig] };
      lines.push(stringify(value, { lineWidth: 0, blockQuote: false }).trimEnd());
      if (comments) lines.push("");
    }
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

const contrasts = { both: "contrast", positive: "positiveOnly", negative: "negativeOnly" } as const;

/** What the loop is told. */
export function loopConfigOf(config: RunConfig): LoopConfig {
  const { method, repair, search: mode, searchProbes: maxProbes, searchSamples: samples, ...others } = config;
  const { repairsPerGroup, repairGate, replay: of, valueSamples, valueEvery: every, contrast, ...settings } = others;
  const { resample, resampleRounds, curriculum, curriculumTarget, klCoef, klEstimator, ...rest } = settings;
  const corrects = method === "iop";
  const { replaySteps: steps, replayBatch: batch, replayLr: lr, replayCapacity: capacity, replayKeep: keep } = config;
  return {
    ...rest,
    rule: corrects ? contrasts[contrast] : method,
    repair: corrects && repair,
    critique: corrects && config.critiqueTemplate !== "",
    monteCarlo: { samples: valueSamples, every },
    ...(repairsPerGroup > 0 && { repairsPerGroup }),
    ...(repairGate === "measured" && { repairGate: {} }),
    ...(of !== "none" && { replay: { of, steps, batch, lr, capacity, keep } }),
    ...(corrects && mode !== "none" && { search: { mode, samples, maxProbes } }),
    ...(resample && { resampleRounds }),
    ...(klCoef > 0 && { kl: { coefficient: klCoef, estimator: klEstimator } }),
    ...(curriculum && { curriculum: { target: curriculumTarget } }),
  };
}
