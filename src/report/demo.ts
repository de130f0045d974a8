/** The demo's report.html: the curves of the methods and the closing table. */

import { methodNames, type CurvePoint, type MethodName, type RecipeName } from "../demo/demo.ts";
import { learnedFrom, tableRows, type DemoJson } from "../demo/summary.ts";
import { mean, sampledAt } from "../run/curves.ts";
import { lineChart, type Line } from "./chart.ts";
import { escapeHtml, htmlPage, htmlTable } from "./page.ts";

const colours: Readonly<Record<MethodName, string>> = { outcome: "#8a8f98", positiveOnly: "#2f7ed8", iop: "#d1495b" };

export function demoReport(json: DemoJson, title: string): string {
  const legend = methodNames.map((name) => `<span style="color:${colours[name]}">■</span> ${name}`).join(" &nbsp; ");
  const { warmStart, seeds, budgetTokens } = json;
  return htmlPage(
    title,
    `<p>${escapeHtml(json.task)}, ${json.policy.parameters.toLocaleString("en")} parameters, ${seeds.length} seeds, ${budgetTokens.toLocaleString("en")} generated
tokens per method and seed. All methods begin with the same warm start: greedy ${warmStart.greedy.toFixed(3)}, sampled
${warmStart.sampled.toFixed(3)}, ${(100 * warmStart.falseSuccess).toFixed(0)} % of its sampled successes with a wrong step.
${learnedFrom[json.methods.iop.settings["warmStartRepairs"] as RecipeName]}</p>
<p>${legend} &nbsp; sampled accuracy on held-out problems: mean of the seeds (thick) and each seed (thin)</p>
${chart(json)}
${htmlTable(methodNames, tableRows(json))}`,
  );
}

function chart(json: DemoJson): string {
  const end = Math.max(...methodNames.flatMap((name) => json.methods[name].tokens));
  const sampled = (curve: readonly CurvePoint[]) => curve.map(([tokens, , accuracy]) => [tokens, accuracy] as const);
  const lines = methodNames.flatMap((name): Line[] => {
    const { curves } = json.methods[name];
    const colour = colours[name];
    const shortest = Math.min(...curves.map((curve) => curve[curve.length - 1][0]));
    const marks = [...new Set(curves.flatMap((curve) => curve.map(([tokens]) => tokens)))]
      .filter((tokens) => tokens <= shortest)
      .sort((a, b) => a - b);
    const centre = marks.map((tokens) => [tokens, mean(curves.map((curve) => sampledAt(curve, tokens)))] as const);
    const each = curves.map((curve) => ({ points: sampled(curve), colour, width: 1, opacity: 0.45 }));
    return [...each, { points: centre, colour, width: 3 }];
  });
  return lineChart(lines, end);
}
