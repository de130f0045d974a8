/** The command `npm run bench`: every subject in a process of its own, checked first, then timed. */

import { fork } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { errorLine, exitCodeOf, UsageError } from "../src/cli/errors.ts";
import { integerFrom, jsonOption } from "../src/cli/options.ts";
import { openOutput, writeJson } from "../src/cli/output.ts";
import { numThreads } from "../src/ops/native.ts";
import type { BenchRecord } from "../test/support/timing.ts";
import { environment } from "./environment.ts";
import { kebab } from "./harness.ts";
import type { SubjectReport, SubjectRequest } from "./subject-process.ts";
import { allSubjects } from "./subjects.ts";
import { header, merged, tableLine } from "./table.ts";

interface BenchOptions {
  readonly list?: boolean;
  readonly peers: boolean;
  readonly threads: readonly number[];
  readonly json?: string;
  readonly keep?: boolean;
  readonly note?: string;
}

const program = new Command("bench")
  .description("check the ops, then time them; print ratios to the physical floor and to peers found on the machine")
  .argument("[names...]", "ops or subjects, as `--list` prints them; default all")
  .option("--list", "print the names of the subjects")
  .option(
    "--peers",
    "time plain JavaScript, PyTorch of the system's Python and onnxruntime-node too, where installed",
    true,
  )
  .option("--no-peers", "only the floors")
  .option("--threads <list>", "threads of every op, floor and peer: 1, or 1,2 for both", threadCounts, [numThreads()])
  .addOption(jsonOption())
  .option("--keep", "keep the rows of the JSON file that are not timed again")
  .option("--note <text>", "what a reader of the record must know besides, such as other work on the machine")
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`${errorLine(text)}\n`) })
  .action(runBench);

async function runBench(names: readonly string[], options: BenchOptions): Promise<void> {
  const chosen = choose(names);
  if (options.list === true) {
    for (const name of chosen) console.log(name);
    return;
  }
  const kept = options.keep === true && options.json !== undefined ? await rowsOf(options.json) : [];
  // Opening it empties it: what is kept stays on the disk until there is something to write.
  const json = options.json === undefined || options.keep === true ? undefined : await openOutput(options.json);
  const env = await environment(options.peers, process.argv.slice(2), options.note);
  const { cpu, isa, blas, node, commit, peers } = env;
  const found = Object.entries(peers).map(([name, version]) => `, ${name} ${version}`);
  console.log(`${cpu}, ${isa}, ${blas ?? "no BLAS"}, node ${node}, ${commit}${found.join("")}`);
  console.log(header);
  const records: BenchRecord[] = [];
  const requests = chosen.flatMap((name) => options.threads.map((threads) => ({ name, threads })));
  for (const { name, threads } of requests) {
    const report = await runSubject({ name, threads, peers: options.peers, env });
    if ("wrong" in report) {
      process.exitCode = 1;
      console.log(`${name}: not timed`);
      for (const problem of report.wrong) console.log(`  ${problem}`);
    } else {
      records.push(report.record);
      console.log(tableLine(report.record));
    }
  }
  if (options.json !== undefined) await writeJson(json ?? (await openOutput(options.json)), merged(kept, records));
}

async function rowsOf(path: string): Promise<readonly BenchRecord[]> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as readonly BenchRecord[];
  } catch (error) {
    throw new UsageError(`--keep: expected a record in ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function threadCounts(list: string): number[] {
  return list.split(",").map((count) => integerFrom(1)(count));
}

/** The subjects that the names stand for: an op is all of its shapes, `op/shape` one of them. */
function choose(names: readonly string[]): readonly string[] {
  const all = allSubjects.map(({ name }) => name);
  if (names.length === 0) return all;
  const belongs = (subject: string, name: string): boolean => `${subject}/`.startsWith(`${kebab(name)}/`);
  for (const name of names) {
    if (!all.some((subject) => belongs(subject, name))) {
      throw new UsageError(`unknown bench ${name}; the names are ${[...new Set(all.map(opOf))].join(", ")}`);
    }
  }
  return all.filter((subject) => names.some((name) => belongs(subject, name)));
}

const opOf = (subject: string): string => subject.split("/")[0];

function runSubject(request: SubjectRequest): Promise<SubjectReport> {
  const execArgv = ["--import", new URL("./register.mjs", import.meta.url).href];
  const child = fork(fileURLToPath(new URL("./subject-process.ts", import.meta.url)), [JSON.stringify(request)], {
    execArgv,
  });
  return new Promise((resolve, reject) => {
    child.once("message", (report) => resolve(report as SubjectReport));
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve({ wrong: [`its process ended with ${signal ?? code}`] }));
  });
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) process.stderr.write(`${errorLine(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
