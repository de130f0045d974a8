/** Hugging Face directories: `config.json`, one safetensors file or several with an index, and the tokenizer's files. */

import { copyFile, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";

import type { Dtype } from "../ops/ops.ts";
import type { NamedNumbers, Parameter } from "../policy.ts";
import { SafetensorsFile } from "./safetensors-reader.ts";
import { replaceFile, saveSafetensors } from "./safetensors-writer.ts";

const weightsName = "model.safetensors";
const indexName = "model.safetensors.index.json";

/** Files that go with the weights, and are copied as they are. */
const companions = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "generation_config.json",
  "vocab.json",
  "merges.txt",
];

/** Tensors that some files hold and nothing reads: they follow from the config. */
const isDerived = (name: string): boolean => name.endsWith("rotary_emb.inv_freq");

export async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    },
  );
}

export async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8");
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Error(`${path}: expected JSON, received ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Reads every parameter's numbers from a directory.
 * @param ignored tensors that may be there besides, such as a head that is tied to the embedding
 * @throws Error that names the file and the tensor: missing, unexpected, of another shape or of a type without fractions
 */
export async function readWeights(
  directory: string,
  parameters: readonly Parameter[],
  ignored: readonly string[],
): Promise<void> {
  const { source, files } = await openWeights(directory);
  try {
    const fileOf = new Map<string, SafetensorsFile>();
    for (const file of files) {
      for (const name of file.tensors.keys()) {
        const other = fileOf.get(name);
        if (other !== undefined)
          throw new Error(`${file.path}: tensor ${JSON.stringify(name)} is in ${other.path} too`);
        fileOf.set(name, file);
      }
    }
    for (const { name } of parameters) {
      if (!fileOf.has(name)) throw new Error(`${source}: expected tensor ${JSON.stringify(name)}, found none`);
    }
    const known = new Set([...parameters.map(({ name }) => name), ...ignored]);
    for (const [name, file] of fileOf) {
      if (!known.has(name) && !isDerived(name)) {
        throw new Error(`${file.path}: tensor ${JSON.stringify(name)} is not one of this architecture's`);
      }
    }
    for (const { name, shape, data } of parameters) {
      const file = fileOf.get(name) as SafetensorsFile;
      const stored = file.tensors.get(name)?.shape ?? [];
      if (stored.join() !== shape.join()) {
        throw new Error(
          `${file.path}: expected shape of ${JSON.stringify(name)} to be [${shape.join(", ")}], received [${stored.join(", ")}]`,
        );
      }
      if (data instanceof Float32Array) {
        await file.read(name, data);
      } else {
        const numbers = new Float32Array(data.length);
        await file.read(name, numbers);
        data.set(numbers);
      }
    }
  } finally {
    for (const file of files) await file.close();
  }
}

/** The safetensors files of a directory, and the path that stands for all of them. */
async function openWeights(directory: string): Promise<{ source: string; files: readonly SafetensorsFile[] }> {
  const path = join(directory, weightsName);
  if (await isThere(path)) return { source: path, files: [await SafetensorsFile.open(path)] };
  const index = join(directory, indexName);
  if (!(await isThere(index))) {
    throw new Error(`${directory}: expected ${weightsName} or ${indexName}, found neither`);
  }
  const map = await readIndex(index);
  const files: SafetensorsFile[] = [];
  try {
    for (const name of new Set(map.values())) files.push(await SafetensorsFile.open(join(directory, name)));
    for (const [tensor, name] of map) {
      const file = files.find(({ path }) => path === join(directory, name));
      if (!file?.tensors.has(tensor)) {
        throw new Error(
          `${index}: expected weight_map of ${JSON.stringify(tensor)} to name its file, received ${name}`,
        );
      }
    }
  } catch (error) {
    for (const file of files) await file.close();
    throw error;
  }
  return { source: index, files };
}

/** The file of every tensor. A name that leads out of the directory is refused. */
async function readIndex(path: string): Promise<Map<string, string>> {
  const index = await readJson(path);
  const map = typeof index === "object" && index !== null ? (index as { weight_map?: unknown }).weight_map : undefined;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new Error(`${path}: expected weight_map to be an object of file names`);
  }
  return new Map(
    Object.entries(map).map(([tensor, name]: [string, unknown]) => {
      if (
        typeof name !== "string" ||
        basename(name) !== name ||
        name.includes("\\") ||
        !name.endsWith(".safetensors")
      ) {
        throw new Error(
          `${path}: expected weight_map of ${JSON.stringify(tensor)} to be the name of a safetensors file in the same ` +
            `directory, received ${JSON.stringify(name)}`,
        );
      }
      return [tensor, name];
    }),
  );
}

export interface WriteModelOptions {
  /** stored type of the weights; default f32, which loses nothing */
  readonly dtype?: Dtype;
  /** a file does not grow beyond this where a tensor fits; default 5 · 10⁹ */
  readonly maxFileBytes?: number;
  /** a directory whose tokenizer and generation files are copied */
  readonly companionsOf?: string;
}

/** Writes a directory that other tools load. Each file appears only when it is whole; `config.json` comes last. */
export async function writeModel(
  directory: string,
  config: Readonly<Record<string, unknown>>,
  parameters: readonly NamedNumbers[],
  options: WriteModelOptions = {},
): Promise<void> {
  const { dtype = "f32", maxFileBytes = 5e9, companionsOf } = options;
  const shards = cut(parameters, maxFileBytes / (dtype === "f32" ? 4 : 2));
  if (shards.length === 1) {
    await saveSafetensors(join(directory, weightsName), shards[0], { dtype });
  } else {
    await writeShards(directory, shards, dtype);
  }
  if (companionsOf !== undefined && companionsOf !== directory) {
    for (const name of companions) {
      const from = join(companionsOf, name);
      if (await isThere(from)) await copyFile(from, join(directory, name));
    }
  }
  await writeJson(join(directory, "config.json"), config);
}

/** Gives a directory that was written a tokenizer, and its config the tokens that end a text. */
export async function addTokenizer(
  directory: string,
  description: Readonly<Record<string, unknown>>,
  endTokens: readonly number[],
): Promise<void> {
  const path = join(directory, "config.json");
  const config = (await readJson(path)) as Readonly<Record<string, unknown>>;
  await writeJson(join(directory, "tokenizer.json"), description);
  await writeJson(path, { ...config, eos_token_id: endTokens });
}

async function writeShards(
  directory: string,
  shards: readonly (readonly NamedNumbers[])[],
  dtype: Dtype,
): Promise<void> {
  const width = 5;
  const number = (n: number): string => String(n).padStart(width, "0");
  const map: Record<string, string> = {};
  let total = 0;
  for (const [i, shard] of shards.entries()) {
    const name = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await saveSafetensors(join(directory, name), shard, { dtype });
    for (const parameter of shard) {
      map[parameter.name] = name;
      total += parameter.data.length * (dtype === "f32" ? 4 : 2);
    }
  }
  await writeJson(join(directory, indexName), { metadata: { total_size: total }, weight_map: map });
}

/** In order, at most `most` numbers together. */
function cut(parameters: readonly NamedNumbers[], most: number): NamedNumbers[][] {
  const shards: NamedNumbers[][] = [[]];
  let numbers = 0;
  for (const parameter of parameters) {
    const shard = shards[shards.length - 1];
    if (shard.length > 0 && numbers + parameter.data.length > most) {
      shards.push([parameter]);
      numbers = 0;
    } else {
      shard.push(parameter);
    }
    numbers += parameter.data.length;
  }
  return shards;
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await replaceFile(path, async (file) => {
    await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
  });
}
