/** Plots of records as SVG text. */

import type { BenchRecord } from "../test/support/timing.ts";

/** One line of a plot: a label, and marks along a logarithmic axis. */
export interface PlotRow {
  readonly label: string;
  readonly marks: readonly { readonly value: number; readonly series: string }[];
}

const width = 960;
const labelWidth = 400;
const rowHeight = 18;
const top = 52;
const right = 24;
const colours = ["#2563a8", "#c2571a", "#3b8050", "#8a4fa3", "#7a6a2f"];

const escape = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

export function nameOf({ op, shape, dtype }: BenchRecord): string {
  return `${op} ${shape}${dtype === "f32" ? "" : ` ${dtype}`}`;
}

/** Marks on a logarithmic axis with a line at 1; the series are told apart by colour. */
export function dotPlot(title: string, rows: readonly PlotRow[]): string {
  const values = rows.flatMap(({ marks }) => marks.map(({ value }) => value));
  const low = Math.floor(Math.log10(Math.min(1, ...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, ...values))));
  const height = top + rows.length * rowHeight + 12;
  const x = (value: number): string =>
    (labelWidth + ((width - labelWidth - right) * (Math.log10(value) - low)) / (high - low)).toFixed(1);
  const series = [...new Set(rows.flatMap(({ marks }) => marks.map((mark) => mark.series)))];
  const colour = (name: string): string => colours[series.indexOf(name) % colours.length];

  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const grid = decades.map(
    (decade) =>
      `<line x1="${x(decade)}" x2="${x(decade)}" y1="${top - 6}" y2="${height - 8}" stroke="${decade === 1 ? "#60656c" : "#e3e5e8"}"/>` +
      `<text x="${x(decade)}" y="${top - 10}" text-anchor="middle">${decade}</text>`,
  );
  const legend = series.map(
    (name, i) =>
      `<circle cx="${labelWidth + i * 130}" cy="16" r="5" fill="${colour(name)}"/>` +
      `<text x="${labelWidth + i * 130 + 10}" y="20">${escape(name)}</text>`,
  );
  const lines = rows.map(({ label, marks }, r) => {
    const y = top + r * rowHeight + rowHeight / 2;
    const dots = marks.map(
      ({ value, series: name }) => `<circle cx="${x(value)}" cy="${y}" r="4" fill="${colour(name)}"/>`,
    );
    return `<text x="${labelWidth - 12}" y="${y + 4}" text-anchor="end">${escape(label)}</text>${dots.join("")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#30343a">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="12" y="20" font-weight="bold">${escape(title)}</text>`,
    ...legend,
    ...grid,
    ...lines,
    "</svg>",
    "",
  ].join("\n");
}

/** Median over floor, one series per number of threads. */
export function floorPlot(records: readonly BenchRecord[]): string {
  const mark = ({ ratioToFloor, threads }: BenchRecord) =>
    ratioToFloor === null ? [] : [{ value: ratioToFloor, series: threadsLabel(threads) }];
  return dotPlot("Time over the floor (1: no room left)", rowsOf(records, mark));
}

/** How many times as long the peers take, with that many threads. */
export function peersPlot(records: readonly BenchRecord[], threads: number): string {
  const mark = ({ peers }: BenchRecord) =>
    Object.entries(peers).map(([series, { ratio }]) => ({ value: ratio, series }));
  const some = records.filter((record) => record.threads === threads);
  return dotPlot(`Time of the peers over ours, ${threadsLabel(threads)}`, rowsOf(some, mark));
}

export const threadsLabel = (threads: number): string => (threads === 1 ? "1 thread" : `${threads} threads`);

function rowsOf(records: readonly BenchRecord[], marksOf: (record: BenchRecord) => PlotRow["marks"]): PlotRow[] {
  const labels = [...new Set(records.map(nameOf))];
  return labels
    .map((label) => ({ label, marks: records.filter((record) => nameOf(record) === label).flatMap(marksOf) }))
    .filter(({ marks }) => marks.length > 0);
}
