/** Plots of the comparison as SVG text. */

export interface Series {
  readonly name: string;
  /** `[x, mean, deviation]`, x rising */
  readonly points: readonly (readonly [x: number, mean: number, deviation: number])[];
}

const width = 900;
const height = 380;
const [left, right, top, bottom] = [52, 240, 40, 34];
const colours = [
  "#2563a8",
  "#c2571a",
  "#3b8050",
  "#8a4fa3",
  "#7a6a2f",
  "#b03050",
  "#4a7d8c",
  "#60656c",
  "#b8860b",
  "#1a1a1a",
  "#e377c2",
  "#17a2b8",
];

const escape = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** Shares from 0 to 1 over generated tokens: a line for the mean of each series, and a band of one deviation around it. */
export function curvePlot(title: string, series: readonly Series[], end: number): string {
  const x = (tokens: number): string => (left + ((width - left - right) * tokens) / end).toFixed(1);
  const highest = Math.max(0.1, ...series.flatMap(({ points }) => points.map(([, mean, spread]) => mean + spread)));
  const most = Math.min(1, Math.ceil(highest * 10) / 10);
  const y = (share: number): string =>
    (top + (height - top - bottom) * (1 - Math.min(1, Math.max(0, share) / most))).toFixed(1);
  const lines = series.map(({ points }, i) => {
    const colour = colours[i % colours.length];
    const upper = points.map(([tokens, mean, spread]) => `${x(tokens)},${y(mean + spread)}`);
    const lower = points.map(([tokens, mean, spread]) => `${x(tokens)},${y(mean - spread)}`).reverse();
    const path = points.map(([tokens, mean]) => `${x(tokens)},${y(mean)}`).join(" ");
    return (
      `<polygon fill="${colour}" opacity="0.12" points="${[...upper, ...lower].join(" ")}"/>` +
      `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${path}"/>`
    );
  });
  const shares = Array.from({ length: 6 }, (_, i) => (most * i) / 5);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => part * end);
  const grid = [
    ...shares.map(
      (share) =>
        `<line x1="${left}" x2="${width - right}" y1="${y(share)}" y2="${y(share)}" stroke="#e3e5e8"/>` +
        `<text x="${left - 8}" y="${y(share)}" dy="4" text-anchor="end">${share.toFixed(2)}</text>`,
    ),
    ...ticks.map(
      (tokens) =>
        `<text x="${x(tokens)}" y="${height - 12}" text-anchor="middle">${Math.round(tokens / 1000)} k</text>`,
    ),
  ];
  return page(
    title,
    series.map(({ name }) => name),
    [...grid, ...lines],
  );
}

export interface Dot {
  readonly name: string;
  readonly x: number;
  /** 0 … 1 */
  readonly y: number;
}

/** Shares over a price in tokens per failure, on a logarithmic axis from 1; what costs nothing is drawn at 1. */
export function pricePlot(title: string, dots: readonly Dot[]): string {
  const decades = Math.max(1, Math.ceil(Math.log10(Math.max(10, ...dots.map((dot) => dot.x)))));
  const x = (tokens: number): string =>
    (left + ((width - left - right) * Math.log10(Math.max(1, tokens))) / decades).toFixed(1);
  const y = (share: number): string => (top + (height - top - bottom) * (1 - share)).toFixed(1);
  const grid = [
    ...[0, 0.2, 0.4, 0.6, 0.8, 1].map(
      (share) =>
        `<line x1="${left}" x2="${width - right}" y1="${y(share)}" y2="${y(share)}" stroke="#e3e5e8"/>` +
        `<text x="${left - 8}" y="${y(share)}" dy="4" text-anchor="end">${share.toFixed(1)}</text>`,
    ),
    ...Array.from({ length: decades + 1 }, (_, power) => 10 ** power).map(
      (tokens) =>
        `<line x1="${x(tokens)}" x2="${x(tokens)}" y1="${top}" y2="${height - bottom}" stroke="#e3e5e8"/>` +
        `<text x="${x(tokens)}" y="${height - 12}" text-anchor="middle">${tokens}</text>`,
    ),
  ];
  const marks = dots.map(
    (dot, i) => `<circle cx="${x(dot.x)}" cy="${y(dot.y)}" r="5" fill="${colours[i % colours.length]}"/>`,
  );
  return page(
    title,
    dots.map(({ name }) => name),
    [...grid, ...marks],
  );
}

/** The frame of a plot: a title, and a legend to the right in the order of the colours. */
function page(title: string, names: readonly string[], parts: readonly string[]): string {
  const legend = names.map(
    (name, i) =>
      `<circle cx="${width - right + 18}" cy="${top + 8 + i * 20}" r="5" fill="${colours[i % colours.length]}"/>` +
      `<text x="${width - right + 30}" y="${top + 12 + i * 20}">${escape(name)}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#30343a">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="12" y="20" font-weight="bold">${escape(title)}</text>`,
    ...parts,
    ...legend,
    "</svg>",
    "",
  ].join("\n");
}
