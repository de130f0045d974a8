/** The record of the comparison: everything that the page shows, made of the files that the runs wrote. */

import { resolveRun, type RunConfig } from "../../src/run/config.ts";
import type { ComparedRun, ComparedVariant } from "../../src/run/compare.ts";
import type { IdentificationFile } from "./identification-file.ts";

/** Where and from what it was made. */
export interface ComparisonEnvironment {
  readonly cpu: string;
  readonly cores: number;
  readonly system: string;
  readonly isa: string;
  /** null: portable matrix products */
  readonly blas: string | null;
  readonly node: string;
  readonly commit: string;
  /** the day of the runs */
  readonly date: string;
  /** what a reader must know besides */
  readonly note: string;
}

export type RecordedRun = Omit<ComparedRun, "seconds">;

export interface RecordedVariant {
  readonly name: string;
  /** rate and epochs, and the other fields of its configuration that have not their default */
  readonly settings: Readonly<Record<string, unknown>>;
  /** by seed */
  readonly runs: readonly RecordedRun[];
}

/** Variants that train copies of one policy. */
export interface RecordedGroup {
  /** what for: methods, tuning, ablation … */
  readonly kind: string;
  /** name of the start */
  readonly start: string;
  readonly variants: readonly RecordedVariant[];
}

export interface ComparisonRecord {
  readonly env: ComparisonEnvironment;
  readonly groups: readonly RecordedGroup[];
  readonly identification: readonly IdentificationFile[];
}

/** A file of runs, by its name: KIND.START.json, or KIND.START.PART.json where several files hold one group. */
export interface NamedFile {
  readonly name: string;
  readonly content: unknown;
}

/** Fields that a run is not told apart by: they are those of its start, or change nothing that it does. */
const common: readonly (keyof RunConfig)[] = [
  ...(["task", "level", "policy", "repairFormat", "repairTemplate", "tokenizer", "symbols"] as const),
  ...(["warmStartSteps", "warmStartRepairs", "warmStartBlanked", "warmStartNoise"] as const),
  ...(["warmStartSlip", "warmStartSeed"] as const),
  ...(["seed", "evaluateEvery", "threads", "runs", "name"] as const),
];

/**
 * @param files of `stepcredit compare --json`, of `hindsight-causes.ts`, and of `identify.ts`, which are called identify.START.json
 * @throws RangeError for a file of another name, or where two files hold one variant with other settings or one seed twice
 */
export function recordOf(env: ComparisonEnvironment, files: readonly NamedFile[]): ComparisonRecord {
  const groups: RecordedGroup[] = [];
  const identification: IdentificationFile[] = [];
  for (const { name, content } of files.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const [, kind, start] = /^([a-z-]+)\.([\w-]+)(?:\.[\w-]+)?\.json$/.exec(name) ?? [];
    if (kind === undefined) throw new RangeError(`recordOf: expected KIND.START.json, received ${name}`);
    if (kind === "identify") {
      identification.push(content as IdentificationFile);
      continue;
    }
    const { variants } = content as { readonly variants: readonly ComparedVariant[] };
    const known = groups.findIndex((group) => group.kind === kind && group.start === start);
    const before = known < 0 ? { kind, start, variants: [] } : groups[known];
    const group = { ...before, variants: variants.reduce(withVariant, before.variants) };
    if (known < 0) groups.push(group);
    else groups[known] = group;
  }
  return { env, groups, identification };
}

function withVariant(known: readonly RecordedVariant[], { name, config, runs }: ComparedVariant): RecordedVariant[] {
  const settings = settingsOf(config);
  const same = known.find((variant) => variant.name === name);
  if (same === undefined) return [...known, { name, settings, runs: runs.map(withoutSeconds) }];
  if (JSON.stringify(same.settings) !== JSON.stringify(settings)) {
    throw new RangeError(`recordOf: expected ${name} to have the same settings in all files, it has not`);
  }
  const all = [...same.runs, ...runs.map(withoutSeconds)].sort((a, b) => a.seed - b.seed);
  if (new Set(all.map(({ seed }) => seed)).size < all.length) {
    throw new RangeError(`recordOf: expected every seed of ${name} once, received one twice`);
  }
  return known.map((variant) => (variant === same ? { ...same, runs: all } : variant));
}

/** Accuracies are shares of a few hundred problems: four digits tell them apart. */
function withoutSeconds({ seconds: _, curve, ...run }: ComparedRun): RecordedRun {
  const short = (share: number): number => Number(share.toFixed(4));
  return { ...run, curve: curve.map(([tokens, greedy, sampled]) => [tokens, short(greedy), short(sampled)] as const) };
}

/** What failures pay says nothing where they pay nothing by it. */
const says = (key: keyof RunConfig, { method, contrast }: RunConfig): boolean =>
  key !== "penaltyWeight" || (method === "iop" && contrast !== "positive");

function settingsOf(config: RunConfig): Record<string, unknown> {
  const defaults = resolveRun({ task: config.task }, "defaults");
  const keys = (Object.keys(config) as (keyof RunConfig)[]).filter((key) => !common.includes(key) && says(key, config));
  const said = keys.filter(
    (key) => key === "lr" || key === "epochs" || JSON.stringify(config[key]) !== JSON.stringify(defaults[key]),
  );
  return Object.fromEntries(said.map((key) => [key, config[key]]));
}
