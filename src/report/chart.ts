/** Shares over generated tokens, as SVG. */

export interface Line {
  /** `[tokens, share]` */
  readonly points: readonly (readonly [tokens: number, share: number])[];
  readonly colour: string;
  readonly width: number;
  /** default 1 */
  readonly opacity?: number;
}

const [width, height, left, right, top, bottom] = [900, 420, 48, 10, 10, 30];

/** @param end tokens at the right edge */
export function lineChart(lines: readonly Line[], end: number): string {
  const x = (tokens: number): string => (left + ((width - left - right) * tokens) / Math.max(1, end)).toFixed(1);
  const y = (share: number): string => (top + (height - bottom - top) * (1 - share)).toFixed(1);
  const curves = lines.map(
    ({ points, colour, width: stroke, opacity = 1 }) =>
      `<polyline fill="none" stroke="${colour}" stroke-width="${stroke}" opacity="${opacity}" points="${points
        .map(([tokens, share]) => `${x(tokens)},${y(share)}`)
        .join(" ")}"/>`,
  );
  const grid = [0, 0.2, 0.4, 0.6, 0.8, 1].map(
    (share) =>
      `<line x1="${left}" x2="${width - right}" y1="${y(share)}" y2="${y(share)}" stroke="#e3e5e8"/>` +
      `<text x="${left - 8}" y="${y(share)}" text-anchor="end" dy="4">${share.toFixed(1)}</text>`,
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const anchor = part === 1 ? "end" : "middle";
    return `<text x="${x(part * end)}" y="${height - 8}" text-anchor="${anchor}">${Math.round((part * end) / 1000)} k</text>`;
  });
  return `<svg viewBox="0 0 ${width} ${height}">${[...grid, ...ticks, ...curves].join("\n")}</svg>`;
}
