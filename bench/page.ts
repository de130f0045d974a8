/** The page of the benchmarks, made of a record and of nothing else. */

import type { BenchEnvironment, BenchRecord } from "../test/support/timing.ts";
import { floorPlot, peersPlot, threadsLabel } from "./plots.ts";

/** Files by name: the page, and the plots that it shows. */
export type PageFiles = Readonly<Record<string, string>>;

/**
 * @param records what `npm run bench -- --json` wrote
 * @param recordPath where that lies, from the root of the repository
 */
export function benchmarkPage(records: readonly BenchRecord[], recordPath: string): PageFiles {
  if (records.length === 0) throw new RangeError("benchmarkPage: expected records, received none");
  const threads = [...new Set(records.map((record) => record.threads))].sort((a, b) => a - b);
  const hasPeers = (count: number): boolean =>
    records.some((record) => record.threads === count && Object.keys(record.peers).length > 0);
  const compared = threads.filter(hasPeers);
  const plots: Record<string, string> = { "benchmarks/floor.svg": floorPlot(records) };
  for (const count of compared) plots[`benchmarks/peers-${count}.svg`] = peersPlot(records, count);
  const page = [
    "# Benchmarks",
    "",
    `Written by \`npm run bench:page\` from [${recordPath}](../${recordPath}); nothing here is typed by hand.`,
    "",
    ...environmentLines(records),
    "",
    "Every op is checked against the reference first and then timed in a fresh process. The op, its floor and its peers take",
    "turns, with the same number of threads. Times are medians with the 20th and 80th percentile in milliseconds. The floor is",
    "the least time that the machine takes for what must be done in any case: the C library's copy of as many bytes, the bare",
    "matrix products by OpenBLAS, or, for a training step with shared prefixes, the time of the same rollouts unshared times the",
    "share of tokens that are left. A ratio below 1 means that the op does better than that measure, as the comments of",
    "`bench/floors.ts` explain. Numbers behind peers say how many times as long as ours they take.",
    "",
    "![Time over the floor](benchmarks/floor.svg)",
    ...compared.flatMap((count) => ["", `![Peers, ${threadsLabel(count)}](benchmarks/peers-${count}.svg)`]),
    ...threads.flatMap((count) => ["", `## ${heading(count)}`, "", ...table(records, count)]),
    "",
  ];
  return { "benchmarks.md": page.join("\n"), ...plots };
}

const heading = (threads: number): string => (threads === 1 ? "One thread" : `${threads} threads`);

/** The machine, and every run of the bench that gave rows. */
function environmentLines(records: readonly BenchRecord[]): string[] {
  const { env } = records[0];
  const runs = [...new Map(records.map((record) => [record.env.date, record.env])).values()];
  const rows: readonly (readonly [string, string])[] = [
    ["processor", `${env.cpu}, ${env.cores} cores, ${env.memoryGiB} GiB`],
    ["system", env.system],
    ["kernels", env.isa],
    ["BLAS", env.blas ?? "none: portable products"],
    ["Node.js", env.node],
    ...Object.entries(env.peers),
    ...runs.flatMap((run) => runRows(run, records, runs.length === 1)),
  ];
  return ["| | |", "|---|---|", ...rows.map(([name, value]) => `| ${name} | ${value} |`)];
}

function runRows(run: BenchEnvironment, records: readonly BenchRecord[], alone: boolean): [string, string][] {
  const ops = [...new Set(records.filter(({ env }) => env.date === run.date).map(({ op }) => `\`${op}\``))];
  return [
    ...(alone ? [] : ([["**ops**", ops.join(", ")]] satisfies [string, string][])),
    ["commit", run.commit],
    ["date", run.date],
    ["command", `\`${run.command}\``],
    ...(run.note === undefined ? [] : ([["note", run.note]] satisfies [string, string][])),
  ];
}

const columns = ["op", "shape", "dtype", "median ms", "p20 – p80", "GB/s", "GFLOP/s", "floor ms", "× floor", "peers"];

function table(records: readonly BenchRecord[], threads: number): string[] {
  const lines = records
    .filter((record) => record.threads === threads)
    .map((record) => `| ${cells(record).join(" | ")} |`);
  return [`| ${columns.join(" | ")} |`, `|${"---|".repeat(columns.length)}`, ...lines];
}

function cells({ op, shape, dtype, medianMs, p20Ms, p80Ms, bytes, flops, floorMs, ratioToFloor, peers }: BenchRecord) {
  const perSecond = (count: number): string => (count === 0 ? "" : (count / medianMs / 1e6).toFixed(1));
  const times = Object.entries(peers).map(([name, { ratio }]) => `${name} ${short(ratio)}`);
  return [
    `\`${op}\``,
    shape,
    dtype,
    short(medianMs),
    `${short(p20Ms)} – ${short(p80Ms)}`,
    perSecond(bytes),
    perSecond(flops),
    floorMs === null ? "" : short(floorMs),
    ratioToFloor === null ? "" : ratioToFloor.toFixed(2),
    times.join(", "),
  ];
}

const short = (value: number): string => value.toFixed(value < 1 ? 3 : value < 100 ? 2 : 0);
