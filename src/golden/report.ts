/** A directory of golden vectors, run on several backends: a vector passes if it passes on all of them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Ops } from "../ops/ops.ts";
import type { GoldenFailure } from "./compare.ts";
import { readVector, runGolden, type GoldenVector } from "./index.ts";

export interface NamedFailure extends GoldenFailure {
  /** the vector, or the file where that could not be read */
  readonly name: string;
  /** the ops that gave it; absent where no vector was read */
  readonly backend?: string;
}

export interface GoldenReport {
  readonly passed: number;
  readonly failed: number;
  readonly unsupported: number;
  readonly failures: readonly NamedFailure[];
  /** how many vectors are unsupported for which reason, as `op` or `op/variant` */
  readonly unsupportedBy: ReadonlyMap<string, number>;
  /** how many vectors hold a metric for which nothing is computed, by its name */
  readonly metricsNotCompared: ReadonlyMap<string, number>;
}

/** Runs every `*.json` in a directory; throws if it cannot be listed. A file that is no vector is a failure of that name. */
export function runGoldenDirectory(directory: string, backends: readonly Ops[]): GoldenReport {
  const counts = { passed: 0, failed: 0, unsupported: 0 };
  const failures: NamedFailure[] = [];
  const unsupportedBy = new Map<string, number>();
  const metricsNotCompared = new Map<string, number>();
  const files = readdirSync(directory).filter((file) => file.endsWith(".json"));
  for (const file of files.sort()) {
    const vector = readFile(join(directory, file));
    if (typeof vector === "string") {
      counts.failed++;
      failures.push({ name: file, key: "file", got: vector, want: "a golden vector" });
      continue;
    }
    const outcomes = backends.map((ops) => ({ backend: ops.name, ...runGolden(vector, ops) }));
    const reason = outcomes.find(({ status }) => status === "unsupported")?.reason;
    for (const { backend, failures: found } of outcomes) {
      failures.push(...found.map((failure) => ({ name: vector.name, ...failure, backend })));
    }
    if (outcomes.some(({ status }) => status === "failed")) counts.failed++;
    else if (reason === undefined) counts.passed++;
    else {
      counts.unsupported++;
      increment(unsupportedBy, reason);
    }
    for (const name of new Set(outcomes.flatMap((outcome) => outcome.metricsNotCompared)))
      increment(metricsNotCompared, name);
  }
  return { ...counts, failures, unsupportedBy, metricsNotCompared };
}

/** The lines a person reads: failures, what is unsupported, what was left out, and the totals last. */
export function describeReport(report: GoldenReport): string[] {
  const list = (counts: ReadonlyMap<string, number>) =>
    [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `  ${String(count).padStart(4)}  ${name}`);
  return [
    ...report.failures.map(
      ({ name, key, got, want, backend }) =>
        `FAILED ${name}: ${key} is ${got}, expected ${want}${backend ? ` (${backend})` : ""}`,
    ),
    ...(report.unsupported > 0 ? ["unsupported:", ...list(report.unsupportedBy)] : []),
    ...(report.metricsNotCompared.size > 0 ? ["metrics not compared:", ...list(report.metricsNotCompared)] : []),
    `${report.passed} passed, ${report.failed} failed, ${report.unsupported} unsupported`,
  ];
}

/** What `--json` writes; non-finite numbers as strings, as in the vectors. */
export function reportToJson({ passed, failed, unsupported, failures }: GoldenReport): string {
  const value = (_key: string, entry: unknown) =>
    typeof entry === "number" && !Number.isFinite(entry) ? String(entry) : entry;
  return `${JSON.stringify({ passed, failed, unsupported, failures }, value, 2)}\n`;
}

/** The vector, or why there is none. */
function readFile(path: string): GoldenVector | string {
  try {
    return readVector(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function increment(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
