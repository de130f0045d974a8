/**
 * A run in its directory: configuration, metrics, checkpoints and the policy it ends with. A run that was interrupted at any
 * moment goes on from its newest whole checkpoint and ends with the same bytes as one that was not.
 */

import { createReadStream } from "node:fs";
import { mkdir, open, readFile, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

import { newestCheckpoint, policyDirectory, writeCheckpoint } from "../checkpoint/run-checkpoint.ts";
import { addTokenizer, isThere } from "../checkpoint/hugging-face.ts";
import { replaceFile } from "../checkpoint/safetensors-writer.ts";
import { setNumThreads } from "../ops/native.ts";
import type { Iteration } from "../trainer.ts";
import { ConfigError, parseYaml, resolveRun, loopConfigOf, writeRun, type RunConfig } from "./config.ts";
import { runLoop, type CurvePoint, type LoopResult, type LoopState } from "./loop.ts";
import { setUp, type Setup } from "./setup.ts";

const configName = "config.yaml";
const metricsName = "metrics.jsonl";
const resultName = "result.json";
const checkpointsName = "checkpoints";
const policyName = "policy";

/** What a run may be gone on with differently: nothing of it changes what is drawn. */
const changeable: readonly (keyof RunConfig)[] = [
  "runs",
  "name",
  "threads",
  "verifierConcurrency",
  "recompute",
  "checkpointEvery",
  "keepCheckpoints",
];

/** What a listener hears while a run works; the run waits for it. */
export interface RunEvents {
  /** what a person should know: a damaged checkpoint, problems left out, where a run goes on */
  told(line: string): void;
  warmStarted(step: number, steps: number, loss: number): void | Promise<void>;
  iterated(iteration: Iteration): void | Promise<void>;
  evaluated(point: CurvePoint): void | Promise<void>;
}

export interface RunOptions {
  /** goes on with the run of this configuration where there is one */
  readonly resume: boolean;
  /** ends the run after the iteration at hand, with a checkpoint */
  readonly signal?: AbortSignal;
}

export interface RunResult extends LoopResult {
  readonly directory: string;
}

export const directoryOf = (config: RunConfig): string => join(config.runs, config.name);

/** Trains by a configuration, whose name is not empty. */
export async function run(config: RunConfig, events: RunEvents, options: RunOptions): Promise<RunResult> {
  const directory = directoryOf(config);
  await claim(directory, config, options.resume);
  if (config.threads > 0) setNumThreads(config.threads);
  const checkpoints = join(directory, checkpointsName);
  const found = options.resume
    ? await newestCheckpoint(checkpoints, (path, reason) => events.told(`${path} is passed over: ${reason}`))
    : undefined;
  const setup = await setUp(config, found && policyDirectory(found.directory));
  const { policy, task, heldOut, warmStart, told } = setup;
  for (const line of told) events.told(line);
  if (found !== undefined) events.told(`goes on from ${found.directory}`);

  const metrics = await MetricsFile.open(join(directory, metricsName), found?.state.metricsLines ?? 0);
  try {
    if (found === undefined && warmStart !== undefined && config.warmStartSteps > 0) {
      await teach(warmStart, config.warmStartSteps, events, metrics);
    }
    const result = await runLoop(
      policy,
      task,
      heldOut,
      loopConfigOf(config),
      {
        async iterated(iteration) {
          await metrics.write(iteration.metrics);
          await events.iterated(iteration);
          await breathe();
        },
        async evaluated(point) {
          const [tokens, greedy, sampled] = point;
          await metrics.write({ tokens, greedy, sampled });
          await events.evaluated(point);
        },
        async checkpoint({ train, ...extra }, score) {
          await metrics.sync();
          const state = { train, metricsLines: metrics.lines, extra, score };
          await writeCheckpoint(checkpoints, state, config.keepCheckpoints, (at) => policy.save(at));
        },
      },
      {
        ...(options.signal && { signal: options.signal }),
        ...(found && { from: { ...(found.state.extra as Omit<LoopState, "train">), train: found.state.train } }),
      },
    );
    if (!result.stopped) {
      await savePolicy(setup, join(directory, policyName));
      await writeText(join(directory, resultName), `${JSON.stringify({ config, ...result }, null, 2)}\n`);
    }
    return { ...result, directory };
  } finally {
    await metrics.close();
  }
}

/** The policy of a run as its newest whole checkpoint has it; undefined before the first. */
export async function newestPolicy(config: RunConfig): Promise<string | undefined> {
  const found = await newestCheckpoint(join(directoryOf(config), checkpointsName), () => undefined);
  return found && policyDirectory(found.directory);
}

/** What the run ends with, with a tokenizer also where its symbols are the configuration's: a directory that can be served. */
async function savePolicy({ policy, task, tokenizer }: Setup, directory: string): Promise<void> {
  await policy.save(directory);
  if (tokenizer?.description !== undefined) await addTokenizer(directory, tokenizer.description, task.stop ?? []);
}

/** Makes the directory the run's own, or finds that it is already. */
async function claim(directory: string, config: RunConfig, resume: boolean): Promise<void> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, configName);
  if (await isThere(path)) {
    if (!resume) {
      throw new ConfigError(`name: ${directory} holds a run already; --resume goes on with it, name=… begins another`);
    }
    const known = resolveRun(parseYaml(await readFile(path, "utf8"), path), path);
    for (const key of Object.keys(known) as (keyof RunConfig)[]) {
      const [then, now] = [JSON.stringify(known[key]), JSON.stringify(config[key])];
      if (then !== now && !changeable.includes(key)) {
        throw new ConfigError(`${key}: expected ${then}, with which ${directory} began, received ${now}`);
      }
    }
  }
  await writeText(path, writeRun(config, false));
}

async function teach(
  warmStart: NonNullable<Setup["warmStart"]>,
  steps: number,
  events: RunEvents,
  metrics: MetricsFile,
): Promise<void> {
  await warmStart(async (step, loss) => {
    if (step % 20 !== 0 && step !== steps) return;
    await metrics.write({ phase: "warm start", step, loss });
    await events.warmStarted(step, steps, loss);
    await breathe();
  });
}

/** Lets timers, signals and the terminal have their turn between pieces of synchronous work. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const writeText = (path: string, text: string): Promise<void> => replaceFile(path, (file) => file.writeFile(text));

/** Metrics in JSON Lines, of which those after a checkpoint are dropped when a run goes on from there. */
class MetricsFile {
  readonly #file: FileHandle;
  #lines: number;

  private constructor(file: FileHandle, lines: number) {
    this.#file = file;
    this.#lines = lines;
  }

  /** Opens a file whose first `lines` lines are kept. */
  static async open(path: string, lines: number): Promise<MetricsFile> {
    const file = await open(path, "a");
    await file.truncate(await bytesOf(path, lines));
    return new MetricsFile(file, lines);
  }

  get lines(): number {
    return this.#lines;
  }

  async write(line: object): Promise<void> {
    await this.#file.appendFile(`${JSON.stringify(line)}\n`);
    this.#lines++;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Bytes of the first lines of a file, or of all that it has. */
async function bytesOf(path: string, lines: number): Promise<number> {
  let bytes = 0;
  let seen = 0;
  if (lines === 0) return 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, end + 1)) {
      if (++seen === lines) return bytes + end + 1;
    }
    bytes += chunk.length;
  }
  return bytes;
}
