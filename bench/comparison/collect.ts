/**
 * Makes the record of docs/comparison.md of the files that the runs left in a folder:
 *   node --import ./bench/register.mjs bench/comparison/collect.ts FOLDER COMMIT DATE [NOTE]
 */

import { cpus, availableParallelism, release, type } from "node:os";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { blas, openOps } from "../../src/ops/native.ts";
import { recordOf, type NamedFile } from "./record.ts";

const [folder, commit, date, note = ""] = process.argv.slice(2);
if (date === undefined) {
  console.error("usage: collect.ts FOLDER COMMIT DATE [NOTE]");
  process.exit(2);
}
const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));
const files = await Promise.all(
  names.map(async (name): Promise<NamedFile> => ({
    name,
    content: JSON.parse(await readFile(join(folder, name), "utf8")) as unknown,
  })),
);
const { name, enabled } = blas();
const record = recordOf(
  {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    system: `${type()} ${release()}`,
    isa: openOps("cpu").name,
    blas: enabled ? name : null,
    node: process.versions.node,
    commit,
    date,
    note,
  },
  files,
);
const target = fileURLToPath(new URL("../../docs/comparison/", import.meta.url));
await mkdir(target, { recursive: true });
await writeFile(join(target, "record.json"), `${JSON.stringify(record)}\n`);
for (const { kind, start, variants } of record.groups) {
  console.log(`${kind} ${start}: ${variants.map((variant) => `${variant.name} ${variant.runs.length}`).join(", ")}`);
}
