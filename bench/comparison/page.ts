/** The tables and plots of docs/comparison.md, from its record. The text around them is written by hand. */

import { markdownTable } from "./markdown.ts";
import { curvePlot, pricePlot, type Series } from "./plots.ts";
import type { ComparisonRecord, RecordedGroup, RecordedRun, RecordedVariant } from "./record.ts";
import { deviation, mean, sampledAt, thousands } from "../../src/run/curves.ts";

/** Files by name: the page, and the plots that it shows. */
export type PageFiles = Readonly<Record<string, string>>;

const marker = /(<!-- (\w+)((?: [\w-]+)*) -->\n)[\s\S]*?(<!-- end -->)/g;

/**
 * Fills what stands between `<!-- WHAT ARGUMENTS -->` and `<!-- end -->`:
 * - `environment`;
 * - `group KIND START… [settings]`: accuracy of every variant from these starts, with its settings where asked;
 * - `plot KIND START [NAME…]`: its curves, of all variants or of those that are named;
 * - `identification`, and `prices START`: its plot.
 * @throws RangeError where the record has not what is asked for
 */
export function comparisonPage(text: string, record: ComparisonRecord): PageFiles {
  const plots: Record<string, string> = {};
  const page = text.replaceAll(marker, (_, begin: string, what: string, list: string, end: string) => {
    const [, ...args] = list.split(" ");
    return `${begin}\n${filled(what, args, record, plots).join("\n")}\n\n${end}`;
  });
  return { "comparison.md": page, ...plots };
}

function filled(what: string, args: readonly string[], record: ComparisonRecord, plots: Record<string, string>) {
  switch (what) {
    case "environment":
      return environmentTable(record);
    case "group": {
      const [kind, ...starts] = args.filter((arg) => arg !== "settings");
      return groupTable(
        starts.map((start) => groupOf(record, [kind, start])),
        args.includes("settings"),
      );
    }
    case "plot": {
      const group = groupOf(record, args);
      const name = `comparison/${group.kind}-${group.start}.svg`;
      plots[name] = groupPlot(withVariants(group, args.slice(2)));
      return [`![Sampled accuracy over generated tokens](${name})`];
    }
    case "identification":
      return identificationTable(record);
    case "prices": {
      const name = `comparison/identification-${args[0]}.svg`;
      plots[name] = pricesPlot(record, args[0]);
      return [`![Share of failures with the right step named over tokens per failure](${name})`];
    }
    default:
      throw new RangeError(
        `comparisonPage: expected environment, group, plot, identification or prices, received ${what}`,
      );
  }
}

function groupOf({ groups }: ComparisonRecord, [kind, start]: readonly string[]): RecordedGroup {
  const found = groups.find((group) => group.kind === kind && group.start === start);
  if (found === undefined) throw new RangeError(`comparisonPage: expected runs of ${kind} from ${start} in the record`);
  return found;
}

function withVariants(group: RecordedGroup, names: readonly string[]): RecordedGroup {
  if (names.length === 0) return group;
  const variants = names.map((name) => {
    const found = group.variants.find((variant) => variant.name === name);
    if (found !== undefined) return found;
    throw new RangeError(`comparisonPage: expected ${name} among ${group.kind} from ${group.start} in the record`);
  });
  return { ...group, variants };
}

function environmentTable({ env }: ComparisonRecord): string[] {
  return markdownTable([
    ["", ""],
    ["processor", `${env.cpu}, ${env.cores} cores`],
    ["system", env.system],
    ["kernels", env.isa],
    ["BLAS", env.blas ?? "none: portable products"],
    ["Node.js", env.node],
    ["commit", env.commit],
    ["date", env.date],
    ["note", env.note],
  ]);
}

const budgetOf = ({ runs }: RecordedVariant): number => Math.max(...runs.map(({ curve }) => curve.at(-1)?.[0] ?? 0));

/** Mean and deviation over seeds; a single seed has no deviation. */
const spread = (values: readonly number[]): string => {
  const digits = (value: number): string => value.toFixed(3).replace(/^0/, "");
  return values.length < 2 ? digits(mean(values)) : `${digits(mean(values))} ± ${digits(deviation(values))}`;
};

const sampledAtEnd = ({ curve }: RecordedRun): number => curve.at(-1)?.[2] ?? NaN;

/** Tokens at which accuracies are shown, where all runs of a group come so far, besides their end. */
const marks = [60_000, 120_000];

/** Whether all runs were evaluated about there: a line over half of a run says nothing of its middle. */
const evaluatedAt = ({ runs }: RecordedVariant, mark: number): boolean =>
  runs.every(({ curve }) => curve.some(([tokens]) => Math.abs(tokens - mark) <= mark / 4));

/** The best of every group is in bold. */
function groupTable(groups: readonly RecordedGroup[], withSettings: boolean): string[] {
  const all = groups.flatMap(({ variants }) => variants);
  const reached = Math.min(...all.flatMap(({ runs }) => runs.map(({ curve }) => curve.at(-1)?.[0] ?? 0)));
  const shown = marks.filter((mark) => mark < reached && all.some((one) => evaluatedAt(one, mark)));
  const header = [
    "",
    ...shown.map(thousands),
    "the end",
    "greedy at the end",
    "seeds",
    "updates",
    "failures with a reference",
    "placed right",
    "repairs",
  ];
  const rows = groups.flatMap(({ start, variants }) => {
    const labels = variants.map(({ name, settings }) => (withSettings ? `${name}: ${settingsText(settings)}` : name));
    return groupRows(variants, groups.length === 1 ? labels : labels.map((label) => `${start}, ${label}`), shown);
  });
  return markdownTable([header, ...rows]);
}

function groupRows(
  variants: readonly RecordedVariant[],
  labels: readonly string[],
  shown: readonly number[],
): string[][] {
  const best = Math.max(...variants.map(({ runs }) => mean(runs.map(sampledAtEnd))));
  return variants.map((variant, v) => {
    const { runs } = variant;
    const sum = (of: (run: RecordedRun) => number): number => runs.reduce((total, run) => total + of(run), 0);
    const [failed, withReference, judged, agreed] = [
      sum((run) => run.failed),
      sum((run) => run.withReference),
      sum((run) => run.judged),
      sum((run) => run.agreed),
    ];
    const tried = sum((run) => run.repairsTried);
    const atEnd = spread(runs.map(sampledAtEnd));
    const share = (part: number, whole: number): string => (whole === 0 ? "" : (part / whole).toFixed(2));
    return [
      labels[v],
      ...shown.map((mark) =>
        evaluatedAt(variant, mark) ? spread(runs.map(({ curve }) => sampledAt(curve, mark))) : "",
      ),
      mean(runs.map(sampledAtEnd)) === best ? `**${atEnd}**` : atEnd,
      spread(runs.map(({ curve }) => curve.at(-1)?.[1] ?? NaN)),
      String(runs.length),
      mean(runs.map(({ updates }) => updates)).toFixed(0),
      share(withReference, failed),
      share(agreed, judged),
      tried === 0 ? "" : `${sum((run) => run.repairsAccepted)} / ${tried}`,
    ];
  });
}

/** What all variants have, or their names say. */
const unsaid = ["budgetTokens", "search", "method"];

const settingsText = (settings: Readonly<Record<string, unknown>>): string =>
  Object.entries(settings)
    .filter(([key]) => !unsaid.includes(key))
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(", ");

function groupPlot(group: RecordedGroup): string {
  const end = Math.max(...group.variants.map(budgetOf));
  const series = group.variants.map(({ name, runs }): Series => {
    // Runs end a little before their budget, each at another number of tokens.
    const last = Math.min(...runs.map(({ curve }) => curve.at(-1)?.[0] ?? 0));
    const points = Array.from({ length: 9 }, (_, i) => (last * i) / 8);
    return {
      name,
      points: points.map((tokens) => {
        const values = runs.map(({ curve }) => sampledAt(curve, tokens));
        return [tokens, mean(values), deviation(values)] as const;
      }),
    };
  });
  return curvePlot(`Sampled accuracy over generated tokens, from ${group.start}`, series, end);
}

function identificationTable({ identification }: ComparisonRecord): string[] {
  const names = [...new Set(identification.flatMap(({ results }) => results.map(({ name }) => name)))];
  const header = ["", ...identification.map(({ name }) => name)];
  const rows = names.map((name) => [
    name,
    ...identification.map(({ results }) => {
      const found = results.find((result) => result.name === name);
      if (found === undefined || found.failed === 0) return "";
      const { failed, withReference, agreed, tokens } = found;
      const precision = withReference === 0 ? "–" : (agreed / withReference).toFixed(2);
      return `${precision} / ${(withReference / failed).toFixed(2)} / ${(tokens / failed).toFixed(0)}`;
    }),
  ]);
  return markdownTable([header, ...rows]);
}

function pricesPlot({ identification }: ComparisonRecord, start: string | undefined): string {
  const found = identification.find(({ name }) => name === start);
  if (found === undefined) throw new RangeError(`comparisonPage: expected identification from ${start} in the record`);
  const dots = found.results
    .filter(({ failed }) => failed > 0)
    .map(({ name, failed, agreed, tokens }) => ({ name, x: tokens / failed, y: agreed / failed }));
  return pricePlot(`Failures with the right step named, by tokens per failure, from ${found.name}`, dots);
}
