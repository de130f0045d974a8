/** report.html: the curves and the table, one file without scripts or fonts from elsewhere. */

import { methodNames, type CurvePoint, type MethodName } from "./demo.ts";
import { mean, sampledAt, tableRows, type DemoJson } from "./summary.ts";

const colours: Readonly<Record<MethodName, string>> = { outcome: "#8a8f98", positiveOnly: "#2f7ed8", iop: "#d1495b" };

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

export function reportHtml(json: DemoJson, title: string): string {
  const rows = tableRows(json)
    .map(
      ({ heading, cells }) =>
        `<tr><th>${escape(heading)}</th>${cells.map((c) => `<td>${escape(c)}</td>`).join("")}</tr>`,
    )
    .join("\n");
  const legend = methodNames.map((name) => `<span style="color:${colours[name]}">■</span> ${name}`).join(" &nbsp; ");
  const { warmStart, seeds, budgetTokens } = json;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1e21; }
table { border-collapse: collapse; margin-top: 1rem; } th { text-align: left; font-weight: 500; }
th, td { padding: .3rem .9rem; border-bottom: 1px solid #e3e5e8; } td { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } text { font-size: 12px; fill: #60656c; }
</style></head><body>
<h1>${escape(title)}</h1>
<p>${escape(json.task)}, ${json.policy.parameters.toLocaleString("en")} parameters, ${seeds.length} seeds, ${budgetTokens.toLocaleString("en")} generated
tokens per method and seed. All methods begin with the same warm start: greedy ${warmStart.greedy.toFixed(3)}, sampled
${warmStart.sampled.toFixed(3)}, ${(100 * warmStart.falseSuccess).toFixed(0)} % of its sampled successes with a wrong step. The warm
start has seen repair pairs chosen by their outcome, which is information beyond the rewards.</p>
<p>${legend} &nbsp; sampled accuracy on held-out problems: mean of the seeds (thick) and each seed (thin)</p>
${chart(json)}
<table><tr><th></th>${methodNames.map((name) => `<th style="text-align:right">${name}</th>`).join("")}</tr>
${rows}
</table></body></html>
`;
}

function chart(json: DemoJson): string {
  const [width, height, left, bottom] = [900, 420, 48, 30];
  const end = Math.max(...methodNames.flatMap((name) => json.methods[name].tokens));
  const x = (tokens: number): string => (left + ((width - left - 10) * tokens) / end).toFixed(1);
  const y = (accuracy: number): string => (10 + (height - bottom - 10) * (1 - accuracy)).toFixed(1);
  const line = (
    points: readonly (readonly [number, number])[],
    colour: string,
    stroke: number,
    opacity: number,
  ): string =>
    `<polyline fill="none" stroke="${colour}" stroke-width="${stroke}" opacity="${opacity}" points="${points
      .map(([tokens, accuracy]) => `${x(tokens)},${y(accuracy)}`)
      .join(" ")}"/>`;
  const sampled = (curve: readonly CurvePoint[]) => curve.map(([tokens, , accuracy]) => [tokens, accuracy] as const);
  const curves = methodNames.flatMap((name) => {
    const { curves } = json.methods[name];
    const shortest = Math.min(...curves.map((curve) => curve[curve.length - 1][0]));
    const marks = [...new Set(curves.flatMap((curve) => curve.map(([tokens]) => tokens)))]
      .filter((tokens) => tokens <= shortest)
      .sort((a, b) => a - b);
    const centre = marks.map((tokens) => [tokens, mean(curves.map((curve) => sampledAt(curve, tokens)))] as const);
    return [...curves.map((curve) => line(sampled(curve), colours[name], 1, 0.45)), line(centre, colours[name], 3, 1)];
  });
  const grid = [0, 0.2, 0.4, 0.6, 0.8, 1].map(
    (accuracy) =>
      `<line x1="${left}" x2="${width - 10}" y1="${y(accuracy)}" y2="${y(accuracy)}" stroke="#e3e5e8"/>` +
      `<text x="${left - 8}" y="${y(accuracy)}" text-anchor="end" dy="4">${accuracy.toFixed(1)}</text>`,
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const tokens = part * json.budgetTokens;
    const anchor = part === 1 ? "end" : "middle";
    return `<text x="${x(tokens)}" y="${height - 8}" text-anchor="${anchor}">${Math.round(tokens / 1000)} k</text>`;
  });
  return `<svg viewBox="0 0 ${width} ${height}">${[...grid, ...ticks, ...curves].join("\n")}</svg>`;
}
