/** `stepcredit eval CONFIG.yaml`: accuracy of a policy on a configuration's held-out problems. */

import { Command } from "commander";

import { UsageError } from "./errors.ts";
import { jsonOption } from "./options.ts";
import { openOutput, writeJson } from "./output.ts";
import { readRun, setOption, withConfig, type Assignments } from "./run-config.ts";

interface EvalOptions {
  readonly set?: Assignments;
  readonly policy?: string;
  readonly samples?: string;
  readonly json?: string;
}

export function evalCommand(): Command {
  return new Command("eval")
    .description("measure a policy's accuracy, greedy and sampled, on the held-out problems of a configuration")
    .argument("<config>", "YAML file, as of train")
    .addOption(setOption())
    .option("--policy <directory>", "what is measured; default the newest checkpoint of the configuration's run")
    .option("--samples <file>", "write the problems with a greedy and a sampled solution, as JSON Lines")
    .addOption(jsonOption())
    .action((path: string, options: EvalOptions) => withConfig(() => evaluateByConfig(path, options)));
}

async function evaluateByConfig(path: string, options: EvalOptions): Promise<void> {
  const { evaluate } = await import("../evaluate.ts");
  const { directoryOf, newestPolicy } = await import("../run/run.ts");
  const { setUp } = await import("../run/setup.ts");
  const { completionOf } = await import("../trajectory/index.ts");
  const config = await readRun(path, options.set);
  const directory = options.policy ?? (await newestPolicy(config));
  if (directory === undefined) {
    throw new UsageError(`eval: expected a checkpoint in ${directoryOf(config)}, or --policy, found none`);
  }
  const { policy, task, heldOut } = await setUp(config, directory);
  if (heldOut.length === 0) throw new UsageError("eval: expected evaluationProblems of at least 1, received 0");
  const json = options.json === undefined ? undefined : await openOutput(options.json);
  const samples = options.samples === undefined ? undefined : await openOutput(options.samples);
  const started = performance.now();
  const greedy = await evaluate(task, heldOut, policy.sampler({ seed: 1, temperature: 0 }));
  const sampled = await evaluate(task, heldOut, policy.sampler({ seed: 1, temperature: 1 }));
  const seconds = (performance.now() - started) / 1000;
  const result = {
    policy: directory,
    problems: heldOut.length,
    greedy: greedy.accuracy,
    sampled: sampled.accuracy,
    tokens: greedy.tokens + sampled.tokens,
    seconds,
  };
  if (samples !== undefined) {
    for (const [p, { id, prompt, answer }] of heldOut.entries()) {
      const [one, other] = [greedy, sampled].map(({ trees }) => ({
        text: task.write(completionOf(trees[p], 0)),
        outcome: trees[p].leaves[0].outcome,
      }));
      const line = { id, prompt: task.write(prompt), answer, greedy: one, sampled: other };
      await samples.appendFile(`${JSON.stringify(line)}\n`);
    }
    await samples.close();
  }
  console.log(
    `${directory}: greedy ${result.greedy.toFixed(3)}, sampled ${result.sampled.toFixed(3)} on ${heldOut.length} problems ` +
      `(${result.tokens} tokens, ${seconds.toFixed(1)} s)`,
  );
  if (json !== undefined) await writeJson(json, result);
}
