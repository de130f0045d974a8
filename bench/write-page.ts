/** The command `npm run bench:page [-- RECORD]`: writes docs/benchmarks.md and its plots from a record, the newest by default. */

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchRecord } from "../test/support/timing.ts";
import { benchmarkPage } from "./page.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "bench", "records");

/** Records are named after their date, so the last name is the newest. */
async function newestRecord(): Promise<string> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".json")).sort();
  const newest = names.at(-1);
  if (newest === undefined) throw new Error(`bench:page: expected a record in ${folder}, found none`);
  return join(folder, newest);
}

const path = process.argv[2] === undefined ? await newestRecord() : resolve(process.argv[2]);
const records = JSON.parse(await readFile(path, "utf8")) as readonly BenchRecord[];
const recordPath = relative(root, path).replaceAll("\\", "/");
for (const [name, text] of Object.entries(benchmarkPage(records, recordPath))) {
  const file = join(root, "docs", name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  console.log(relative(root, file));
}
