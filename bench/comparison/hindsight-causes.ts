/**
 * Takes single parts out of the repair by hindsight of chain arithmetic that no field of a configuration takes out:
 *   node --import ./bench/register.mjs bench/comparison/hindsight-causes.ts CONFIG FILE.json SEEDS VARIANTS [key=value…]
 * Writes what `stepcredit compare --json` writes.
 */

import { readFile, writeFile } from "node:fs/promises";
import { loopConfigOf, parseYaml, resolveRun } from "../../src/run/config.ts";
import type { ComparedRun, ComparedVariant } from "../../src/run/compare.ts";
import { runLoop } from "../../src/run/loop.ts";
import { setUp } from "../../src/run/setup.ts";
import { isVariant, withoutPart } from "./repair-variants.ts";

const [path, output, seedList, names, ...settings] = process.argv.slice(2);
const variants = names?.split(",") ?? [];
if (variants.length === 0 || !variants.every(isVariant)) {
  console.error("usage: hindsight-causes.ts CONFIG FILE.json SEEDS shown|whole|hidden|alone,… [key=value…]");
  process.exit(2);
}
const seeds = seedList.split(",").map(Number);
const assigned = settings.map((setting) => [setting.split("=")[0], parseYaml(setting.replace(/^[^=]*=/, ""), setting)]);
const base = parseYaml(await readFile(path, "utf8"), path) as object;
const resolved = resolveRun({ ...base, ...Object.fromEntries(assigned) }, path);

const results: ComparedVariant[] = [];
for (const name of variants) {
  const runs: ComparedRun[] = [];
  for (const seed of seeds) {
    const config = { ...resolved, seed };
    const { policy, task, heldOut } = await setUp(config);
    const result = await runLoop(policy, withoutPart(task, name), heldOut, loopConfigOf(config), {
      evaluated: ([tokens, , sampled]) => console.log(name, seed, tokens, sampled),
      iterated: () => undefined,
    });
    const { counts, curve, tokens, updates, seconds } = result;
    runs.push({ seed, tokens, updates, curve, seconds, ...counts });
  }
  results.push({ name, config: resolved, runs });
  await writeFile(output, `${JSON.stringify({ seeds, variants: results }, null, 1)}\n`);
}
