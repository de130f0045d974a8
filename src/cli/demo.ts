/** `stepcredit demo`: the main job, with progress, a table, an example in colour and a run directory. */

import { createWriteStream } from "node:fs";
import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { dirname, join } from "node:path";

import { Command, Option } from "commander";
import pc from "picocolors";

import type { DemoConfig, DemoEvents, MethodName, RecipeName } from "../demo/demo.ts";
import type { Example } from "../demo/example.ts";
import { UsageError } from "./errors.ts";
import { integerFrom, jsonOption } from "./options.ts";

function seeds(text: string): number[] {
  const list = text.split(",").map(integerFrom(0));
  if (list.length > 1) return list;
  return Array.from({ length: integerFrom(1)(text) }, (_, seed) => seed);
}

interface DemoOptions {
  readonly json?: string;
  readonly seeds: readonly number[];
  readonly budget: number;
  readonly repairs: RecipeName;
  readonly warmStartSeed: number;
  readonly warmStartSteps?: number;
  readonly problems: number;
  readonly name?: string;
  readonly runs: string;
}

export function demoCommand(): Command {
  return new Command("demo")
    .description(
      "train the embedded policy from outcomes alone: plain, positive-only and IOP at equal generated tokens",
    )
    .addOption(jsonOption())
    .option("--seeds <seeds>", "how many seeds, or a list such as 0,1,2", seeds, [0, 1, 2])
    .option("--budget <tokens>", "generated tokens per method and seed", integerFrom(1000), 240_000)
    .addOption(
      new Option("--repairs <recipe>", "what taught the policy to repair: unverified attempts, or verified pairs")
        .choices(["hindsight", "verified"])
        .default("hindsight"),
    )
    .option("--warm-start-seed <seed>", "of the policy's start and its demonstrations", integerFrom(0), 7)
    .option(
      "--warm-start-steps <steps>",
      "supervised steps before; default 1600, or 1200 with verified",
      integerFrom(1),
    )
    .option("--problems <count>", "held-out problems per evaluation", integerFrom(1), 300)
    .option("--name <name>", "name of the run (default: demo and the time)")
    .option("--runs <directory>", "where runs are written", "runs")
    .action(async (options: DemoOptions) => {
      await demo(options);
    });
}

async function demo(options: DemoOptions): Promise<void> {
  const { demoDefaults, methodConfig, methodNames, runDemo } = await import("../demo/demo.ts");
  const { findExample, writeExample } = await import("../demo/example.ts");
  const { demoReport } = await import("../report/demo.ts");
  const { learnedFrom, table, toJson } = await import("../demo/summary.ts");
  const { saveSafetensors } = await import("../checkpoint/safetensors-writer.ts");
  const { chainArithmetic } = await import("../tasks/chain-arithmetic.ts");
  const { grpo } = await import("../trajectory/index.ts");

  const config: DemoConfig = {
    ...demoDefaults,
    seeds: options.seeds,
    budgetTokens: options.budget,
    warmStartSeed: options.warmStartSeed,
    ...(options.warmStartSteps !== undefined && { warmStartSteps: options.warmStartSteps }),
    repairs: options.repairs,
    evaluationProblems: options.problems,
  };
  // Minutes of work end in this file, so it is looked at first.
  if (options.json !== undefined) await writable(dirname(options.json));
  const name = options.name ?? `demo-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}`;
  const directory = join(options.runs, name);
  await mkdir(join(directory, "checkpoints"), { recursive: true });
  const methods = methodNames.map((method) => methodConfig(method, config.seeds[0], config));
  await writeFile(join(directory, "config.json"), JSON.stringify({ ...config, methods }, null, 2) + "\n");
  const metrics = createWriteStream(join(directory, "metrics.jsonl"));
  const record = async (line: object): Promise<void> => {
    if (!metrics.write(JSON.stringify(line) + "\n")) await once(metrics, "drain");
  };

  const progress = new Progress(config);
  let example: { readonly found: Example; readonly iteration: number } | undefined;
  const events: DemoEvents = {
    async warmStartStep(step, steps, loss) {
      if (step % 20 !== 0 && step !== steps) return;
      await record({ phase: "warm start", step, loss });
      progress.warmStart(step, steps, loss);
      await breathe();
    },
    async warmStarted(policy, accuracy) {
      await record({ phase: "warm start", accuracy });
      await saveSafetensors(join(directory, "checkpoints", "warm-start.safetensors"), policy.parameters());
      progress.say(
        `warm start: greedy ${accuracy.greedy.toFixed(3)}, sampled ${accuracy.sampled.toFixed(3)} ` +
          `(${(100 * accuracy.falseSuccess).toFixed(0)} % of the successes with a wrong step). ` +
          learnedFrom[config.repairs],
      );
    },
    async iterated(method, seed, iteration) {
      await record({ method, seed, ...iteration.metrics });
      const found = method === "iop" && seed === config.seeds[0] ? findExample(iteration.trees) : undefined;
      if (found !== undefined && (example === undefined || found.rank > example.found.rank)) {
        example = { found, iteration: iteration.metrics.iteration };
      }
      progress.iteration(method, seed, iteration.metrics.tokens, iteration.metrics.accuracy);
      await breathe();
    },
    async evaluated(method, seed, [spent, greedy, sampled]) {
      await record({ method, seed, tokens: spent, greedy, sampled });
      progress.evaluated(method, seed, spent, greedy, sampled);
    },
    async trained(policy, { method, seed }) {
      await saveSafetensors(join(directory, "checkpoints", `${method}-${seed}.safetensors`), policy.parameters());
    },
  };

  const result = await runDemo(config, events);
  progress.done();
  metrics.end();
  await once(metrics, "close");

  const json = toJson(result);
  await writeFile(join(directory, "result.json"), JSON.stringify(json, null, 2) + "\n");
  await writeFile(join(directory, "report.html"), demoReport(json, `stepcredit demo: ${name}`));
  if (options.json !== undefined) await writeFile(options.json, JSON.stringify(json, null, 2) + "\n");

  console.log(`\n${table(json)}\n`);
  if (example !== undefined) {
    const { tree, leaf } = example.found;
    const { penaltyWeight } = methodConfig("iop", 0, config);
    const advantage = (outcomes: Float64Array): Float64Array => grpo({ outcomes, eps: 1e-4 });
    const rules = { rule: "contrast", advantage, penaltyWeight } as const;
    console.log(`A failed trajectory of iteration ${example.iteration}, what it is blamed for, and its correction:\n`);
    console.log(writeExample(chainArithmetic(), tree, leaf, rules));
  }
  console.log(
    `\n${result.seconds.toFixed(0)} s in all. Written to ${directory} (config, metrics.jsonl, checkpoints, report.html).`,
  );
}

async function writable(directory: string): Promise<void> {
  try {
    await access(directory, constants.W_OK);
  } catch (error) {
    throw new UsageError(`demo: expected --json in a directory that can be written, received ${directory}`, {
      cause: error,
    });
  }
}

/** Lets timers, signals and the terminal have their turn between pieces of synchronous work. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One line that is rewritten on a terminal; plain lines at the evaluations elsewhere. */
class Progress {
  readonly #config: DemoConfig;
  readonly #terminal = process.stdout.isTTY;
  readonly #started = performance.now();
  /** where training began: the warm start tells nothing of its speed */
  #trainingStarted = 0;
  #finishedTokens = 0;
  #current = "";
  #currentTokens = 0;
  #latest = "";

  constructor(config: DemoConfig) {
    this.#config = config;
  }

  warmStart(step: number, steps: number, loss: number): void {
    const line = `warm start  step ${step}/${steps}  loss ${loss.toFixed(3)}`;
    if (this.#terminal) this.#rewrite(line);
    else if (step % 200 === 0 || step === steps) this.say(line);
  }

  iteration(method: MethodName, seed: number, spent: number, accuracy: number): void {
    this.#advance(method, seed, spent);
    if (!this.#terminal) return;
    this.#rewrite(
      `${pc.bold(method.padEnd(12))} seed ${seed}  ${this.#spentOf(spent)}  rollouts right ${accuracy.toFixed(2)}` +
        `${this.#latest}  ${this.#left()}`,
    );
  }

  evaluated(method: MethodName, seed: number, spent: number, greedy: number, sampled: number): void {
    this.#advance(method, seed, spent);
    this.#latest = `  held-out greedy ${greedy.toFixed(3)} sampled ${sampled.toFixed(3)}`;
    if (this.#terminal) return;
    this.say(`${method.padEnd(12)} seed ${seed}  ${this.#spentOf(spent)}${this.#latest}  ${this.#left()}`);
  }

  say(line: string): void {
    if (this.#terminal) process.stdout.write("\r\x1b[K");
    console.log(line);
  }

  done(): void {
    if (this.#terminal) process.stdout.write("\r\x1b[K");
  }

  #rewrite(line: string): void {
    process.stdout.write(`\r\x1b[K${line}`);
  }

  #spentOf(spent: number): string {
    const k = (number: number): string => `${Math.round(number / 1000)} k`;
    return `${k(spent).padStart(5)} / ${k(this.#config.budgetTokens)} tokens`;
  }

  #advance(method: MethodName, seed: number, spent: number): void {
    if (this.#trainingStarted === 0) this.#trainingStarted = performance.now();
    const current = `${method} ${seed}`;
    if (current !== this.#current) {
      this.#finishedTokens += this.#currentTokens;
      this.#current = current;
      this.#latest = "";
    }
    this.#currentTokens = spent;
  }

  /** Elapsed, and left at the pace of the training so far. */
  #left(): string {
    const all = this.#config.budgetTokens * this.#config.seeds.length * 3;
    const spent = this.#finishedTokens + this.#currentTokens;
    const now = performance.now();
    const left = ((now - this.#trainingStarted) / 1000) * (Math.max(0, all - spent) / Math.max(1, spent));
    return `${((now - this.#started) / 1000).toFixed(0)} s, about ${left.toFixed(0)} s left`;
  }
}
