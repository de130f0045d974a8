/**
 * Checkpoints of a run: a directory per iteration with the policy, the optimizer's moments and the state. One appears under its
 * name only when all of it is on the disk, so a process that is killed at any moment leaves whole ones; each file's checksum
 * tells of what happens to them later.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

import type { Floats } from "../ops/ops.ts";
import type { ReplayProgress } from "../replay.ts";
import type { TrainState } from "../trainer.ts";
import { SafetensorsFile } from "./safetensors-reader.ts";
import { replaceFile, saveSafetensors } from "./safetensors-writer.ts";

/** Where a run is, with the state of what the trainer does not know. */
export interface RunState {
  readonly train: TrainState;
  /** lines of the metrics file that belong to the run so far */
  readonly metricsLines: number;
  /** what the caller counts, in JSON */
  readonly extra: Readonly<Record<string, unknown>>;
  /** what the best checkpoint is chosen by, the larger the better; undefined where it was not measured */
  readonly score: number | undefined;
}

interface StoredState extends Omit<RunState, "train"> {
  readonly version: 1;
  readonly train: Omit<TrainState, "optimizer" | "replay">;
  readonly optimizerSteps: number;
  /** with the steps of its optimizer; the solutions that are kept may be many, but they are text */
  readonly replay?: Omit<ReplayProgress, "optimizer"> & { readonly optimizerSteps: number };
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

export interface FoundCheckpoint {
  readonly directory: string;
  readonly state: RunState;
}

const stateName = "state.json";
const momentsName = "optimizer.safetensors";
const policyName = "policy";

/** The directory of the policy inside a checkpoint. */
export const policyDirectory = (checkpoint: string): string => join(checkpoint, policyName);

const nameOf = (iteration: number): string => String(iteration).padStart(6, "0");

/**
 * Writes a checkpoint below `root` and then removes all but the newest `keep` and the best one. Gives its directory.
 * @param savePolicy writes the policy into a directory
 */
export async function writeCheckpoint(
  root: string,
  state: RunState,
  keep: number,
  savePolicy: (directory: string) => Promise<void>,
): Promise<string> {
  const directory = join(root, nameOf(state.train.iteration));
  const unfinished = `${directory}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(policyDirectory(unfinished), { recursive: true });
  await savePolicy(policyDirectory(unfinished));
  const { optimizer, replay, ...train } = state.train;
  const moments = {
    m: optimizer.m,
    v: optimizer.v,
    ...(replay && { "replay.m": replay.optimizer.m, "replay.v": replay.optimizer.v }),
  };
  await saveSafetensors(
    join(unfinished, momentsName),
    Object.entries(moments).map(([name, data]) => ({ name, shape: [data.length], data })),
  );
  const stored: StoredState = {
    version: 1,
    train,
    optimizerSteps: optimizer.steps,
    ...(replay && { replay: withoutMoments(replay) }),
    metricsLines: state.metricsLines,
    extra: state.extra,
    score: state.score,
    files: await checksums(unfinished),
  };
  await replaceFile(join(unfinished, stateName), async (file) => {
    await file.writeFile(JSON.stringify(stored, null, 2) + "\n");
  });
  await syncDirectory(policyDirectory(unfinished));
  await syncDirectory(unfinished);
  await rm(directory, { recursive: true, force: true });
  await rename(unfinished, directory);
  await syncDirectory(root);
  await removeOld(root, keep);
  return directory;
}

/**
 * The newest checkpoint below `root` whose files are all there and unchanged; undefined where there is none.
 * @param damaged hears of every newer one that is not whole, and why
 */
export async function newestCheckpoint(
  root: string,
  damaged: (directory: string, reason: string) => void,
): Promise<FoundCheckpoint | undefined> {
  for (const name of (await checkpointNames(root)).toReversed()) {
    const directory = join(root, name);
    try {
      return { directory, state: await readState(directory) };
    } catch (error) {
      damaged(directory, error instanceof Error ? error.message : String(error));
    }
  }
  return undefined;
}

async function readState(directory: string): Promise<RunState> {
  const path = join(directory, stateName);
  let stored: StoredState;
  try {
    stored = JSON.parse(await readFile(path, "utf8")) as StoredState;
  } catch (error) {
    throw new Error(`${path}: expected the state of a run, received ${(error as Error).message}`, { cause: error });
  }
  if (stored.version !== 1) {
    throw new Error(`${path}: expected version 1, received ${JSON.stringify(stored.version)}`);
  }
  for (const [name, { bytes, sha256 }] of Object.entries(stored.files)) {
    const file = join(directory, name);
    const { size } = await stat(file);
    if (size !== bytes) throw new Error(`${file}: expected ${bytes} bytes, received ${size}`);
    if ((await checksum(file)) !== sha256) throw new Error(`${file}: its checksum is not the one in ${stateName}`);
  }
  const { train, optimizerSteps: steps, replay, metricsLines, extra, score } = stored;
  const file = await SafetensorsFile.open(join(directory, momentsName));
  try {
    const optimizer = { steps, ...(await readMoments(file, "")) };
    if (replay === undefined) return { train: { ...train, optimizer }, metricsLines, extra, score };
    const { optimizerSteps, ...progress } = replay;
    const replayed = { ...progress, optimizer: { steps: optimizerSteps, ...(await readMoments(file, "replay.")) } };
    return { train: { ...train, optimizer, replay: replayed }, metricsLines, extra, score };
  } finally {
    await file.close();
  }
}

function withoutMoments({ optimizer, ...progress }: ReplayProgress): NonNullable<StoredState["replay"]> {
  return { ...progress, optimizerSteps: optimizer.steps };
}

async function readMoments(file: SafetensorsFile, prefix: string): Promise<{ m: Floats; v: Floats }> {
  const read = async (name: string): Promise<Float32Array> => {
    const into = new Float32Array(file.tensors.get(name)?.shape[0] ?? 0);
    await file.read(name, into);
    return into;
  };
  return { m: await read(`${prefix}m`), v: await read(`${prefix}v`) };
}

/** Names of the whole checkpoints, the oldest first. */
async function checkpointNames(root: string): Promise<string[]> {
  const names = await readdir(root).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  });
  return names.filter((name) => /^\d{6,}$/.test(name)).sort((a, b) => Number(a) - Number(b));
}

async function removeOld(root: string, keep: number): Promise<void> {
  const names = await checkpointNames(root);
  const old = names.slice(0, Math.max(0, names.length - keep));
  let best: { readonly name: string; readonly score: number } | undefined;
  for (const name of names) {
    const score = await scoreOf(join(root, name));
    if (score !== undefined && (best === undefined || score >= best.score)) best = { name, score };
  }
  for (const name of old) if (name !== best?.name) await rm(join(root, name), { recursive: true });
}

async function scoreOf(directory: string): Promise<number | undefined> {
  try {
    return (JSON.parse(await readFile(join(directory, stateName), "utf8")) as StoredState).score;
  } catch {
    return undefined; // a damaged one is not the best; whoever resumes is told of it
  }
}

async function checksums(directory: string): Promise<StoredState["files"]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files: Record<string, { bytes: number; sha256: string }> = {};
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(directory.length + 1);
    files[name] = { bytes: (await stat(path)).size, sha256: await checksum(path) };
  }
  return files;
}

async function checksum(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** So that the names in it are on the disk too. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
