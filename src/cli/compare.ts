/** `stepcredit compare CONFIG.yaml NAME:key=value,… …`: methods and settings side by side, at equal tokens, over seeds. */

import { Command, InvalidArgumentError } from "commander";

import type { RunConfig } from "../run/config.ts";
import type { ComparedVariant, Variant } from "../run/compare.ts";
import { UsageError } from "./errors.ts";
import { integerFrom, jsonOption } from "./options.ts";
import { openOutput, progress, writeJson } from "./output.ts";
import { readRun, resolveWith, setOption, withConfig, type Assignments } from "./run-config.ts";

interface CompareOptions {
  readonly set?: Assignments;
  readonly seeds: readonly number[];
  readonly marks?: readonly number[];
  readonly json?: string;
}

const details = `
A variant is a name and what it sets over the configuration: outcome:method=outcome,lr=0.0006. A name that is a method sets it.
All variants with the same start train copies of one policy; each is trained with every seed to the configuration's budget.
Prints held-out sampled accuracy at the marks, mean ± deviation over the seeds.`;

export function compareCommand(): Command {
  return new Command("compare")
    .description(
      "train by several settings from the same start, over seeds, and compare them at equal generated tokens",
    )
    .argument("<config>", "YAML file, as of train")
    .argument("<variants...>", "NAME or NAME:key=value,key=value")
    .addOption(setOption())
    .option("--seeds <list>", "such as 0,1,2", integers(0), [0, 1, 2])
    .option(
      "--marks <list>",
      "generated tokens to compare at; default a quarter, a half and all of the budget",
      integers(1),
    )
    .addOption(jsonOption())
    .addHelpText("after", details)
    .action((path: string, variants: readonly string[], options: CompareOptions) =>
      withConfig(() => compareByConfig(path, variants, options)),
    );
}

async function compareByConfig(path: string, named: readonly string[], options: CompareOptions): Promise<void> {
  const { compare } = await import("../run/compare.ts");
  const base = await readRun(path, options.set);
  const variants: Variant[] = [];
  for (const text of named) variants.push(await variantOf(base, text));
  const json = options.json === undefined ? undefined : await openOutput(options.json);
  const line = progress(process.stdout);
  const results = await compare(variants, options.seeds, {
    told: (text) => {
      line.done();
      console.log(text);
    },
    warmStarted: (variant, step, steps, loss) => {
      line.update(`${variant}: warm start  step ${step}/${steps}  loss ${loss.toFixed(3)}`);
    },
    evaluated: (variant, seed, [tokens, greedy, sampled]) => {
      line.update(
        `${variant}, seed ${seed}: ${tokens} tokens  greedy ${greedy.toFixed(3)}  sampled ${sampled.toFixed(3)}`,
      );
    },
    compared: () => undefined,
  });
  line.done();
  const budget = Math.min(...variants.map(({ config }) => config.budgetTokens));
  console.log(await tableOf(results, options.marks ?? [budget / 4, budget / 2], options.marks === undefined));
  if (json !== undefined) await writeJson(json, { seeds: options.seeds, variants: results });
}

/** `name` or `name:key=value,…`; the values are YAML, so a list is written in brackets. */
async function variantOf(base: RunConfig, text: string): Promise<Variant> {
  const { methods } = await import("../run/method-fields.ts");
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  const settings = colon < 0 ? [] : text.slice(colon + 1).split(/,(?=[A-Za-z]\w*=)/);
  const assignments = settings.map((setting): readonly [string, string] => {
    const at = setting.indexOf("=");
    if (at < 1) throw new UsageError(`compare: expected key=value in ${text}, received ${JSON.stringify(setting)}`);
    return [setting.slice(0, at).trim(), setting.slice(at + 1)];
  });
  const isMethod = (methods as readonly string[]).includes(name);
  if (assignments.length === 0 && !isMethod) {
    throw new UsageError(`compare: expected ${name} to be one of ${methods.join(", ")}, or NAME:key=value`);
  }
  const all: Assignments = isMethod ? [["method", name], ...assignments] : assignments;
  return { name, config: await resolveWith(base, all, name) };
}

async function tableOf(
  results: readonly ComparedVariant[],
  marks: readonly number[],
  withEnd: boolean,
): Promise<string> {
  const { alignRows, mean, sampledAt, spread, thousands } = await import("../run/curves.ts");
  const header = {
    heading: "sampled accuracy at",
    cells: ["0", ...marks.map(thousands), ...(withEnd ? ["the end"] : []), "tokens", "updates", "repairs"],
  };
  const rows = results.map(({ name, runs }) => {
    const curves = runs.map(({ curve }) => curve);
    const tried = runs.reduce((sum, run) => sum + run.repairsTried, 0);
    const accepted = runs.reduce((sum, run) => sum + run.repairsAccepted, 0);
    return {
      heading: name,
      cells: [
        mean(curves.map((curve) => curve[0]?.[2] ?? NaN)).toFixed(3),
        ...marks.map((mark) => spread(curves.map((curve) => sampledAt(curve, mark)))),
        ...(withEnd ? [spread(curves.map((curve) => curve.at(-1)?.[2] ?? NaN))] : []),
        thousands(mean(runs.map(({ tokens }) => tokens))),
        mean(runs.map(({ updates }) => updates)).toFixed(0),
        tried === 0 ? "–" : `${accepted} / ${tried}`,
      ],
    };
  });
  return alignRows([header, ...rows]);
}

function integers(least: number): (list: string) => number[] {
  const one = integerFrom(least);
  return (list) => {
    if (list.trim() === "") throw new InvalidArgumentError("Expected numbers between commas.");
    return list.split(",").map(one);
  };
}
