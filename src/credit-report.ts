/** What the rollouts of a file have in common: how many succeeded, for how many a first error was found, and where. */

import { succeeded } from "./trajectory/verify.ts";
import type { AdvantageRange, CreditedProblem, CreditedRollout } from "./credit.ts";

export interface SkippedLine {
  /** from 1 */
  readonly line: number;
  readonly reason: string;
}

export interface CreditReport {
  /** problems read; lines that hold none are not among them */
  readonly problems: number;
  readonly rollouts: number;
  readonly succeeded: number;
  readonly failed: number;
  /** took no part: no reward, or nothing written */
  readonly unverified: number;
  /** how many for which reason */
  readonly unverifiedBecause: Readonly<Record<string, number>>;
  /** failed rollouts with a verified one to compare them with */
  readonly withReference: number;
  /** of the failed ones; null: none failed */
  readonly withReferenceShare: number | null;
  /** those of them that only ended too early: nothing they wrote differs from the reference */
  readonly endedEarly: number;
  /** problems by their verified rollouts; `empty` have none */
  readonly groups: {
    readonly allRight: number;
    readonly allWrong: number;
    readonly mixed: number;
    readonly empty: number;
  };
  /** steps from 0, the share among the first errors */
  readonly firstErrors: readonly { readonly step: number; readonly count: number; readonly share: number }[];
  /** share of the first errors that are in step 0; null: none was found */
  readonly firstErrorAtFirstStep: number | null;
  /** positions (tokens, or UTF-16 units) of the failed rollouts, and how many of them carry a negative advantage */
  readonly failedPositions: number;
  readonly blamedPositions: number;
  readonly skippedLines: number;
  /** the first hundred of them */
  readonly skipped: readonly SkippedLine[];
  /** where one was there to be asked */
  readonly engine?: EngineReport;
}

export interface EngineReport {
  /** generated */
  readonly tokens: number;
  /** corrections by source */
  readonly corrections: Readonly<Record<string, number>>;
  /** references of failed rollouts by source; `recorded` are rollouts of the same problem */
  readonly references: Readonly<Record<string, number>>;
  /** problems for which it failed */
  readonly errors: number;
}

const skippedKept = 100;

/** Counts as problems pass; keeps none of them. */
export class CreditTally {
  readonly #threshold: number | undefined;
  readonly #counts = {
    problems: 0,
    rollouts: 0,
    succeeded: 0,
    failed: 0,
    unverified: 0,
    withReference: 0,
    endedEarly: 0,
  };
  readonly #groups = { allRight: 0, allWrong: 0, mixed: 0, empty: 0 };
  readonly #positions = { failed: 0, blamed: 0 };
  readonly #reasons = new Map<string, number>();
  readonly #firstErrors = new Map<number, number>();
  readonly #skipped: SkippedLine[] = [];
  #skippedLines = 0;
  #asked = false;
  readonly #engine = { tokens: 0, errors: 0 };
  readonly #corrections = new Map<string, number>();
  readonly #references = new Map<string, number>();

  /** @param threshold as in the config that gave the credits */
  constructor(threshold?: number) {
    this.#threshold = threshold;
  }

  get problems(): number {
    return this.#counts.problems;
  }

  add(problem: CreditedProblem): void {
    const { rollouts, corrections, spent, error } = problem;
    this.#asked ||= spent !== undefined;
    this.#engine.tokens += spent?.tokens ?? 0;
    if (error !== undefined) this.#engine.errors++;
    for (const { source } of corrections) increment(this.#corrections, source);
    this.#counts.problems++;
    this.#counts.rollouts += rollouts.length;
    let right = 0;
    let wrong = 0;
    for (const rollout of rollouts) {
      if (rollout.unverified !== undefined) {
        this.#counts.unverified++;
        increment(this.#reasons, rollout.unverified);
      } else if (succeeded({ outcome: rollout.reward as number }, this.#threshold)) right++;
      else {
        wrong++;
        this.#addFailed(rollout, problem);
      }
    }
    this.#counts.succeeded += right;
    this.#counts.failed += wrong;
    this.#groups[right > 0 ? (wrong > 0 ? "mixed" : "allRight") : wrong > 0 ? "allWrong" : "empty"]++;
  }

  #addFailed(rollout: CreditedRollout, { corrections }: CreditedProblem): void {
    const { reference, correction } = rollout;
    this.#positions.failed += rollout.steps.at(-1)?.end ?? 0;
    this.#positions.blamed += blamed(rollout.advantages);
    if (reference < 0 && correction === undefined) return;
    increment(this.#references, correction === undefined ? "recorded" : corrections[correction].source);
    this.#counts.withReference++;
    if (rollout.firstError < 0) this.#counts.endedEarly++;
    else increment(this.#firstErrors, rollout.firstError);
  }

  skip(line: number, reason: string): void {
    this.#skippedLines++;
    if (this.#skipped.length < skippedKept) this.#skipped.push({ line, reason });
  }

  report(): CreditReport {
    const { failed, withReference, endedEarly } = this.#counts;
    const found = withReference - endedEarly;
    return {
      ...this.#counts,
      unverifiedBecause: Object.fromEntries(this.#reasons),
      withReferenceShare: failed > 0 ? withReference / failed : null,
      groups: { ...this.#groups },
      firstErrors: [...this.#firstErrors]
        .sort(([a], [b]) => a - b)
        .map(([step, count]) => ({ step, count, share: count / found })),
      firstErrorAtFirstStep: found > 0 ? (this.#firstErrors.get(0) ?? 0) / found : null,
      failedPositions: this.#positions.failed,
      blamedPositions: this.#positions.blamed,
      skippedLines: this.#skippedLines,
      skipped: [...this.#skipped],
      ...(this.#asked && {
        engine: {
          ...this.#engine,
          corrections: Object.fromEntries(this.#corrections),
          references: Object.fromEntries(this.#references),
        },
      }),
    };
  }
}

function blamed(advantages: CreditedRollout["advantages"]): number {
  return advantages.reduce<number>((sum, entry: number | AdvantageRange) => {
    if (typeof entry === "number") return sum + (entry < 0 ? 1 : 0);
    return sum + (entry.advantage < 0 ? entry.end - entry.start : 0);
  }, 0);
}

function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

const stepsShown = 8;
const linesShown = 10;
/** Above this share of first errors in step 0 the comparison says little about where the error is. */
const mostlyFirst = 0.9;

/** The lines a person reads. */
export function describeCreditReport(report: CreditReport): string[] {
  const { groups, firstErrors, skipped, skippedLines, engine } = report;
  const because = Object.entries(report.unverifiedBecause).map(([reason, count]) => `${reason}: ${count}`);
  const early = report.endedEarly > 0 ? `, ${report.endedEarly} of them only ended too early` : "";
  const found = report.withReference - report.endedEarly;
  const shown = firstErrors.slice(0, stepsShown).map(({ step, share }) => `${step}: ${percent(share)}`);
  const later = firstErrors.slice(stepsShown).reduce((sum, { share }) => sum + share, 0);
  const hidden = skippedLines - Math.min(skipped.length, linesShown);
  return [
    `problems      ${report.problems}`,
    `rollouts      ${report.rollouts}: ${report.succeeded} succeeded, ${report.failed} failed, ${report.unverified} unverified` +
      (because.length > 0 ? ` (${because.join(", ")})` : ""),
    `groups        ${groups.mixed} mixed, ${groups.allRight} all right, ${groups.allWrong} all wrong` +
      (groups.empty > 0 ? `, ${groups.empty} without a verified rollout` : ""),
    ...(report.withReferenceShare === null
      ? []
      : [
          `references    for ${report.withReference} of ${report.failed} failed rollouts (${percent(report.withReferenceShare)})${early}`,
        ]),
    ...(engine === undefined ? [] : describeEngine(engine)),
    ...(found > 0
      ? [`first errors  by step: ${shown.join(", ")}${later > 0 ? `, later: ${percent(later)}` : ""}`]
      : []),
    ...((report.firstErrorAtFirstStep ?? 0) > mostlyFirst
      ? [
          "              nearly all in step 0: these rollouts share no beginnings, so the first difference may be mere wording",
        ]
      : []),
    ...(report.failedPositions > 0
      ? [`blamed        ${percent(report.blamedPositions / report.failedPositions)} of what the failed rollouts wrote`]
      : []),
    ...(skippedLines > 0 ? [`skipped lines ${skippedLines}`] : []),
    ...skipped.slice(0, linesShown).map(({ line, reason }) => `  line ${line}: ${reason}`),
    ...(hidden > 0 ? [`  and ${hidden} more`] : []),
  ];
}

function describeEngine({ tokens, corrections, references, errors }: EngineReport): string[] {
  const listed = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([source, count]) => `${source} ${count}`)
      .join(", ") || "none";
  return [
    `              by source: ${listed(references)}`,
    `engine        ${tokens} tokens; corrections by source: ${listed(corrections)}`,
    ...(errors > 0 ? [`              failed for ${errors} problems; --resume asks again`] : []),
  ];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
