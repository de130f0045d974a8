/** The command `npm run comparison:page`: fills the tables of docs/comparison.md from its record, and draws its plots. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { comparisonPage } from "./page.ts";
import type { ComparisonRecord } from "./record.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const docs = join(root, "docs");
const record = JSON.parse(await readFile(join(docs, "comparison", "record.json"), "utf8")) as ComparisonRecord;
const page = await readFile(join(docs, "comparison.md"), "utf8");
for (const [name, text] of Object.entries(comparisonPage(page, record))) {
  const file = join(docs, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  console.log(relative(root, file));
}
