/** The report of runs of `stepcredit train`: held-out accuracy of each over generated tokens, and what each spent. */

import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { isThere } from "../checkpoint/hugging-face.ts";
import { readJsonl } from "../jsonl.ts";
import { ConfigError } from "../run/config.ts";
import { lineChart } from "./chart.ts";
import { escapeHtml, htmlPage, htmlTable } from "./page.ts";

/** What a run's metrics say. */
export interface RunSummary {
  readonly name: string;
  /** `[tokens, greedy, sampled]` of the evaluations */
  readonly curve: readonly (readonly [tokens: number, greedy: number, sampled: number])[];
  /** `[tokens, share of rollouts that succeeded]` of the iterations */
  readonly rollouts: readonly (readonly [tokens: number, accuracy: number])[];
  readonly tokens: number;
  readonly updates: number;
  /** of training */
  readonly seconds: number;
}

interface MetricsLine {
  readonly tokens?: number;
  readonly greedy?: number;
  readonly sampled?: number;
  readonly accuracy?: number;
  readonly updates?: number;
  readonly seconds?: Readonly<Record<string, number>>;
}

/** Reads the directory of a run, finished or not. */
export async function readRunSummary(directory: string): Promise<RunSummary> {
  const path = join(directory, "metrics.jsonl");
  if (!(await isThere(path))) throw new ConfigError(`report: expected ${path}, found none`);
  const curve: [number, number, number][] = [];
  const rollouts: [number, number][] = [];
  let [tokens, updates, seconds] = [0, 0, 0];
  for await (const row of readJsonl(bytesOf(path))) {
    if ("malformed" in row) throw new ConfigError(`${path}: line ${row.line}: ${row.malformed}`);
    const line = row.value as MetricsLine;
    if (line.tokens === undefined) continue;
    tokens = line.tokens;
    if (line.greedy !== undefined && line.sampled !== undefined) curve.push([tokens, line.greedy, line.sampled]);
    if (line.accuracy === undefined) continue;
    rollouts.push([tokens, line.accuracy]);
    updates = line.updates ?? updates;
    seconds += Object.values(line.seconds ?? {}).reduce((sum, each) => sum + each, 0);
  }
  return { name: basename(directory), curve, rollouts, tokens, updates, seconds };
}

async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  yield await readFile(path);
}

const colours = ["#d1495b", "#2f7ed8", "#3a9d5d", "#b8860b", "#7d5ba6", "#8a8f98"];

export function runReport(runs: readonly RunSummary[], title: string): string {
  const end = Math.max(...runs.map(({ tokens }) => tokens));
  const colour = (r: number): string => colours[r % colours.length];
  const lines = runs.flatMap(({ curve, rollouts }, r) => [
    { points: rollouts, colour: colour(r), width: 1, opacity: 0.35 },
    { points: curve.map(([tokens, , sampled]) => [tokens, sampled] as const), colour: colour(r), width: 3 },
  ]);
  const legend = runs.map(({ name }, r) => `<span style="color:${colour(r)}">■</span> ${escapeHtml(name)}`);
  const last = (column: 1 | 2) => runs.map(({ curve }) => curve.at(-1)?.[column].toFixed(3) ?? "–");
  const rows = [
    { heading: "held-out accuracy, greedy", cells: last(1) },
    { heading: "held-out accuracy, sampled", cells: last(2) },
    { heading: "generated tokens", cells: runs.map(({ tokens }) => tokens.toLocaleString("en")) },
    { heading: "optimizer steps", cells: runs.map(({ updates }) => String(updates)) },
    { heading: "seconds of training", cells: runs.map(({ seconds }) => seconds.toFixed(1)) },
  ];
  const explained = "sampled accuracy on held-out problems (thick) and of the rollouts (thin), over generated tokens";
  const names = runs.map(({ name }) => name);
  return htmlPage(
    title,
    `<p>${legend.join(" &nbsp; ")} &nbsp; ${explained}</p>\n${lineChart(lines, end)}\n${htmlTable(names, rows)}`,
  );
}
