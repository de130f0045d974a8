/** `stepcredit train CONFIG.yaml`: a run by its configuration, with progress, metrics and checkpoints. */

import type { Writable } from "node:stream";

import { Command } from "commander";

import type { RunConfig } from "../run/config.ts";
import type { CurvePoint } from "../run/loop.ts";
import type { RunEvents } from "../run/run.ts";
import type { IterationMetrics } from "../iteration-metrics.ts";
import { jsonOption } from "./options.ts";
import { openOutput, progress, writeJson } from "./output.ts";
import { readRun, setOption, withConfig, type Assignments } from "./run-config.ts";

interface TrainOptions {
  readonly set?: Assignments;
  readonly resume?: boolean;
  readonly printConfig?: boolean;
  readonly json?: string;
}

const details = `
A run writes RUNS/NAME/
  config.yaml      the configuration with every field
  metrics.jsonl    a line per iteration and per evaluation
  checkpoints/     the newest ones and the best
  policy/          what the run ends with: a Hugging Face directory
  result.json      the curve of held-out accuracy and what was spent
An interrupt (Ctrl-C) ends it after the iteration at hand, with a checkpoint; a second one at once. --resume goes on from the
newest whole checkpoint, also after a crash, and ends with the same bytes as an uninterrupted run.
\`stepcredit init\` writes a configuration with all fields explained.`;

export function trainCommand(): Command {
  return new Command("train")
    .description("train a policy on problems with checkable answers, by a configuration")
    .argument("<config>", "YAML file")
    .addOption(setOption())
    .option("--resume", "go on with this configuration's run where there is one")
    .option("--print-config", "print the configuration with every field, and do nothing else")
    .addOption(jsonOption())
    .addHelpText("after", details)
    .action((path: string, options: TrainOptions) =>
      withConfig(async () => {
        const config = await readRun(path, options.set);
        if (options.printConfig !== true) return trainByConfig(config, options);
        const { writeRun } = await import("../run/config.ts");
        process.stdout.write(writeRun(config, false));
      }),
    );
}

async function trainByConfig(config: RunConfig, options: TrainOptions): Promise<void> {
  const { run } = await import("../run/run.ts");
  const json = options.json === undefined ? undefined : await openOutput(options.json);
  const interrupt = new AbortController();
  const onInterrupt = (): void => {
    // The next one ends the process as it does by default.
    process.removeListener("SIGINT", onInterrupt);
    interrupt.abort();
    process.stderr.write("\nstops after this iteration, with a checkpoint; once more stops at once\n");
  };
  process.on("SIGINT", onInterrupt);
  const display = new RunDisplay(config, process.stdout);
  try {
    const result = await run(config, display, { resume: options.resume === true, signal: interrupt.signal });
    display.done();
    const [tokens, greedy, sampled] = result.curve.at(-1) ?? [result.tokens, NaN, NaN];
    const accuracy = Number.isNaN(greedy) ? "" : `, held-out greedy ${greedy.toFixed(3)} sampled ${sampled.toFixed(3)}`;
    console.log(
      result.stopped
        ? `stopped after ${result.tokens} tokens; --resume goes on: ${result.directory}`
        : `${tokens} tokens${accuracy}: ${result.directory}`,
    );
    if (json !== undefined) await writeJson(json, { config, ...result });
    if (result.stopped) process.exitCode = 130;
  } finally {
    display.done();
    process.removeListener("SIGINT", onInterrupt);
  }
}

/** A line that is redrawn, or one now and then; lines of their own for evaluations. */
export class RunDisplay implements RunEvents {
  readonly #config: RunConfig;
  readonly #stream: Writable & { readonly isTTY?: boolean };
  readonly #line: ReturnType<typeof progress>;
  #latest = "";
  /** tokens and time when this process began to train */
  #begun: { readonly tokens: number; readonly at: number } | undefined;

  constructor(config: RunConfig, stream: Writable & { readonly isTTY?: boolean }) {
    this.#config = config;
    this.#stream = stream;
    this.#line = progress(stream);
  }

  told(line: string): void {
    this.#line.done();
    this.#stream.write(`${line}\n`);
  }

  warmStarted(step: number, steps: number, loss: number): void {
    this.#line.update(`warm start  step ${step}/${steps}  loss ${loss.toFixed(3)}`);
  }

  iterated({ metrics }: { readonly metrics: IterationMetrics }): void {
    const { iteration, tokens, accuracy, update, seconds } = metrics;
    const { rolloutTokens, repairTokens, critiqueTokens, searchTokens, valueTokens } = metrics;
    const spent = rolloutTokens + repairTokens + critiqueTokens + searchTokens + valueTokens;
    const distance = update.kl === undefined ? "" : `  from reference ${update.kl.toFixed(4)}`;
    const now = performance.now();
    const generating = seconds.rollout + seconds.correct + seconds.credit;
    this.#begun ??= { tokens: tokens - spent, at: now - 1000 * (generating + seconds.update) };
    const pace = (tokens - this.#begun.tokens) / ((now - this.#begun.at) / 1000);
    const left = Math.max(0, this.#config.budgetTokens - tokens) / pace;
    this.#line.update(
      `train  iteration ${iteration}  ${thousands(tokens)} / ${thousands(this.#config.budgetTokens)} tokens  ` +
        `${(spent / generating).toFixed(0)} tokens/s  right ${accuracy.toFixed(2)}  ` +
        `loss ${update.loss.toFixed(4)}  KL ${update.approxKl.toFixed(4)}${distance}  ${duration(left)} left${this.#latest}`,
    );
  }

  evaluated([tokens, greedy, sampled]: CurvePoint): void {
    this.#latest = `  held-out ${greedy.toFixed(3)}`;
    this.told(`${thousands(tokens)} tokens  held-out greedy ${greedy.toFixed(3)} sampled ${sampled.toFixed(3)}`);
  }

  done(): void {
    this.#line.done();
  }
}

const thousands = (tokens: number): string => `${Math.round(tokens / 1000)} k`;

function duration(seconds: number): string {
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
