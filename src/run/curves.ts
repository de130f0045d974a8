/** Curves of several seeds in numbers and tables. */

import type { CurvePoint } from "./loop.ts";

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of a sample: divided by n − 1; 0 for one value. */
export function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

/** Sampled accuracy at a number of generated tokens, on the straight line between the points around it; NaN beyond the end. */
export function sampledAt(curve: readonly CurvePoint[], tokens: number): number {
  const after = curve.findIndex(([at]) => at >= tokens);
  if (after < 0) return NaN;
  if (after === 0) return curve[0][2];
  const [from, , low] = curve[after - 1];
  const [to, , high] = curve[after];
  return low + ((high - low) * (tokens - from)) / (to - from);
}

/** Generated tokens, in steps of 1,000, after which the mean of the curves first reaches an accuracy; undefined: never. */
export function tokensToReach(curves: readonly (readonly CurvePoint[])[], accuracy: number): number | undefined {
  const end = Math.min(...curves.map((curve) => curve[curve.length - 1][0]));
  const step = 1000;
  const reached = (tokens: number): boolean => mean(curves.map((curve) => sampledAt(curve, tokens))) >= accuracy;
  for (let tokens = 0; tokens < end; tokens += step) {
    if (reached(tokens)) return tokens;
  }
  return reached(end) ? end : undefined;
}

export const thousands = (tokens: number): string => `${Math.round(tokens / 1000)} k`;

/** `mean ± deviation` */
export const spread = (values: readonly number[]): string =>
  `${mean(values).toFixed(3)} ± ${deviation(values).toFixed(3)}`;

/** Rows of a table in columns as wide as their longest cell: headings to the left, cells to the right. */
export function alignRows(rows: readonly { readonly heading: string; readonly cells: readonly string[] }[]): string {
  const lines = rows.map(({ heading, cells }) => [heading, ...cells]);
  const widths = lines[0].map((_, column) => Math.max(...lines.map((cells) => cells[column].length)));
  return lines
    .map((cells) => cells.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c]))).join("   "))
    .join("\n");
}
