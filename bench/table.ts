/** Records as lines that a person reads. */

import type { BenchRecord } from "../test/support/timing.ts";

const columns = [
  ["op", 32],
  ["shape", 42],
  ["threads", 7],
  ["median ms", 10],
  ["p20", 9],
  ["p80", 9],
  ["GB/s", 7],
  ["GFLOP/s", 8],
  ["floor ms", 9],
  ["x floor", 8],
] as const;

/** Numbers are aligned to the right, the first two columns to the left. */
function line(cells: readonly string[], peers: string): string {
  const padded = columns.map(([, width], c) => (c < 2 ? cells[c].padEnd(width) : cells[c].padStart(width)));
  return `${padded.join(" ")}  ${peers}`.trimEnd();
}

export const header = line(
  columns.map(([name]) => name),
  "peers: times as slow as ours",
);

export function tableLine(record: BenchRecord): string {
  const { medianMs, p20Ms, p80Ms, bytes, flops, floorMs, ratioToFloor, peers } = record;
  const perSecond = (count: number): string => (count === 0 ? "" : (count / medianMs / 1e6).toFixed(1));
  const cells = [
    record.op,
    record.shape,
    String(record.threads),
    milliseconds(medianMs),
    milliseconds(p20Ms),
    milliseconds(p80Ms),
    perSecond(bytes),
    perSecond(flops),
    floorMs === null ? "" : milliseconds(floorMs),
    ratioToFloor === null ? "" : ratioToFloor.toFixed(2),
  ];
  const times = Object.entries(peers).map(([name, { ratio }]) => `${name} ${ratio.toFixed(ratio < 10 ? 2 : 0)}`);
  return line(cells, times.join(", "));
}

function milliseconds(time: number): string {
  return time < 10 ? time.toFixed(3) : time.toFixed(1);
}

/** The rows of a record with newer ones in the place of those of the same work, and behind them what is new. */
export function merged(kept: readonly BenchRecord[], newer: readonly BenchRecord[]): readonly BenchRecord[] {
  const keyOf = ({ op, shape, dtype, threads }: BenchRecord): string => JSON.stringify([op, shape, dtype, threads]);
  const rows = new Map(kept.map((row) => [keyOf(row), row]));
  for (const row of newer) rows.set(keyOf(row), row);
  return [...rows.values()];
}
