/**
 * Asks every strategy about the failures of one policy:
 *   node --import ./bench/register.mjs bench/comparison/identify.ts CONFIG NAME FILE.json [key=value…]
 */

import { readFile, writeFile } from "node:fs/promises";
import { parseYaml, resolveRun } from "../../src/run/config.ts";
import { setUp } from "../../src/run/setup.ts";
import { deriveSeed, Random } from "../../src/random.ts";
import type { IdentificationFile, NamedStrategyResult } from "./identification-file.ts";
import { measureStrategy, type Strategy } from "./strategies.ts";

const problemCount = 256;
const groupSize = 8;

const strategies: Readonly<Record<string, Strategy>> = {
  siblings: { kind: "siblings" },
  "one more rollout": { kind: "rollouts", samples: 1 },
  "four more rollouts": { kind: "rollouts", samples: 4 },
  "search, gallop, 2 probes": { kind: "search", search: { mode: "gallop", maxProbes: 2 } },
  "search, gallop to the end": { kind: "search", search: { mode: "gallop" } },
  "search, bisect to the end": { kind: "search", search: { mode: "bisect" } },
  "step by critique, regrown": { kind: "critique", by: "policy", samples: 1 },
  "step by critique, regrown 4 times": { kind: "critique", by: "policy", samples: 4 },
  "step by chance, regrown": { kind: "critique", by: "chance", samples: 1 },
  "step by the checker, regrown": { kind: "critique", by: "checker", samples: 1 },
  "step by the checker, regrown 4 times": { kind: "critique", by: "checker", samples: 4 },
  "repair, all that verify": { kind: "repair", plausibility: 0 },
  "repair, plausible at 0.003": { kind: "repair", plausibility: 0.003 },
  "repair, plausible at 0.03": { kind: "repair", plausibility: 0.03 },
};

const [path, name, output, ...settings] = process.argv.slice(2);
if (output === undefined) {
  console.error("usage: identify.ts CONFIG NAME FILE.json [key=value…]");
  process.exit(2);
}
const assigned = settings.map((setting) => [setting.split("=")[0], parseYaml(setting.replace(/^[^=]*=/, ""), setting)]);
const base = parseYaml(await readFile(path, "utf8"), path) as object;
const config = resolveRun({ ...base, ...Object.fromEntries(assigned) }, path);
const { policy, task } = await setUp(config);
const random = new Random(deriveSeed(config.seed, "identification problems"));
const problems = Array.from({ length: problemCount }, (_, index) => task.problem(random.next, index));

const results: NamedStrategyResult[] = [];
for (const [strategyName, strategy] of Object.entries(strategies)) {
  if (strategy.kind === "repair" && task.repair === undefined) continue;
  if (strategy.kind === "critique" && strategy.by === "policy" && task.critique === undefined) continue;
  const result = await measureStrategy(policy, task, problems, strategy, { groupSize, seed: config.seed });
  results.push({ name: strategyName, ...result });
  console.log(strategyName, JSON.stringify(result));
}
const file: IdentificationFile = { name, problems: problemCount, groupSize, results };
await writeFile(output, `${JSON.stringify(file, null, 1)}\n`);
