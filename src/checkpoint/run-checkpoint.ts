/**
 * Checkpoints of a run: a directory per iteration with the policy, the optimizer's moments and the state. One appears under its
 * name only when all of it is on the disk, so a process that is killed at any moment leaves whole ones; each file's checksum
 * tells of what happens to them later. What a run keeps as its reference stays the same for long: it is a file beside them,
 * written before the first checkpoint that names it and removed after the last.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

import { bitsOf } from "../ops/halves.ts";
import type { Floats } from "../ops/ops.ts";
import type { ReferenceWeights } from "../policy.ts";
import type { ReferenceState } from "../reference.ts";
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
  readonly train: Omit<TrainState, "optimizer" | "replay" | "reference">;
  readonly optimizerSteps: number;
  /** with the steps of its optimizer; the solutions that are kept may be many, but they are text */
  readonly replay?: Omit<ReplayProgress, "optimizer"> & { readonly optimizerSteps: number };
  /** which one, with its file beside the checkpoints */
  readonly reference?: StoredReference;
  readonly files: Readonly<Record<string, StoredFile>>;
}

interface StoredFile {
  readonly bytes: number;
  readonly sha256: string;
}

interface StoredReference extends StoredFile {
  readonly since: number;
}

export interface FoundCheckpoint {
  readonly directory: string;
  readonly state: RunState;
}

const stateName = "state.json";
const momentsName = "optimizer.safetensors";
const policyName = "policy";
const weightsName = "weights";

/** The directory of the policy inside a checkpoint. */
export const policyDirectory = (checkpoint: string): string => join(checkpoint, policyName);

const nameOf = (iteration: number): string => String(iteration).padStart(6, "0");
const referencePath = (root: string, since: number): string => join(root, `reference-${nameOf(since)}.safetensors`);

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
  const { optimizer, replay, reference, ...train } = state.train;
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
    ...(reference && { reference: await keepReference(root, reference) }),
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
  for (const [name, file] of Object.entries(stored.files)) await checkFile(join(directory, name), file);
  const { train: counted, optimizerSteps: steps, replay, metricsLines, extra, score } = stored;
  const reference = stored.reference && (await readReference(dirname(directory), stored.reference));
  const train = { ...counted, ...(reference && { reference }) };
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

async function checkFile(path: string, { bytes, sha256 }: StoredFile): Promise<void> {
  const { size } = await stat(path);
  if (size !== bytes) throw new Error(`${path}: expected ${bytes} bytes, received ${size}`);
  if ((await checksum(path)) !== sha256) throw new Error(`${path}: its checksum is not the one in ${stateName}`);
}

/** Writes the reference beside the checkpoints, unless one of them has it already, whole. */
async function keepReference(root: string, { since, weights }: ReferenceState): Promise<StoredReference> {
  const path = referencePath(root, since);
  for (const name of (await checkpointNames(root)).toReversed()) {
    const known = (await storedOf(join(root, name)))?.reference;
    if (known?.since !== since) continue;
    const whole = await checkFile(path, known).then(
      () => true,
      () => false,
    );
    if (whole) return known;
    break;
  }
  const length = "dtype" in weights ? weights.data.length : weights.length;
  const bytes = await saveSafetensors(path, [{ name: weightsName, shape: [length], data: weights }]);
  await syncDirectory(root);
  return { since, bytes, sha256: await checksum(path) };
}

async function readReference(root: string, stored: StoredReference): Promise<ReferenceState> {
  const { since } = stored;
  const path = referencePath(root, since);
  await checkFile(path, stored);
  const file = await SafetensorsFile.open(path);
  try {
    return { since, weights: await readFlat(file) };
  } finally {
    await file.close();
  }
}

async function readFlat(file: SafetensorsFile): Promise<ReferenceWeights> {
  const tensor = file.tensors.get(weightsName);
  const numbers = new Float32Array(tensor?.shape[0] ?? 0);
  await file.read(weightsName, numbers);
  const dtype = ({ BF16: "bf16", F16: "f16" } as const)[tensor?.dtype as "BF16" | "F16"] as "bf16" | "f16" | undefined;
  return dtype === undefined ? numbers : { dtype, data: bitsOf(dtype, numbers) };
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
    const score = (await storedOf(join(root, name)))?.score;
    if (score !== undefined && (best === undefined || score >= best.score)) best = { name, score };
  }
  for (const name of old) if (name !== best?.name) await rm(join(root, name), { recursive: true });
  await removeReferences(root);
}

/** Those that no checkpoint names. */
async function removeReferences(root: string): Promise<void> {
  const named = new Set<string>();
  for (const name of await checkpointNames(root)) {
    const since = (await storedOf(join(root, name)))?.reference?.since;
    if (since !== undefined) named.add(referencePath(root, since));
  }
  for (const name of await readdir(root)) {
    const path = join(root, name);
    if (name.startsWith("reference-") && !named.has(path)) await rm(path);
  }
}

/** The state of a checkpoint, unless it is damaged: such a one is not the best, and whoever resumes is told of it. */
async function storedOf(directory: string): Promise<StoredState | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, stateName), "utf8")) as StoredState;
  } catch {
    return undefined;
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
