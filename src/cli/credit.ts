/** `stepcredit credit FILE`: step credits for recorded rollouts, JSON Lines in and out. */

import type { FileHandle } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { CreditTally, describeCreditReport, type CreditReport } from "../credit-report.ts";
import {
  creditRecorded,
  type AdvantageName,
  type CreditConfig,
  type CreditedProblem,
  type StepRule,
} from "../credit.ts";
import { readJsonl } from "../jsonl.ts";
import { parseRecordedProblem } from "../recorded.ts";
import type { CreditRule } from "../trajectory/supervise.ts";
import { systemReason, UsageError } from "./errors.ts";
import { finiteNumber, integerFrom, jsonOption } from "./options.ts";
import { openInput, openOutput, progress, writeJson } from "./output.ts";

export interface Streams {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
}

interface CreditOptions {
  readonly out?: string;
  readonly json?: string;
  readonly steps?: StepRule;
  readonly rule: CreditRule;
  readonly advantage: AdvantageName;
  readonly threshold: number;
}

const rules = ["contrast", "positiveOnly", "outcome", "valueDifference"] as const satisfies readonly CreditRule[];
const advantages = ["grpo", "rloo"] as const satisfies readonly AdvantageName[];

const details = `
A line of FILE is a problem with its rollouts:
  { "id", "prompt", "answer"?, "rollouts": [{ "text" or "tokens", "logprobs"?, "reward"? }] }
Every rollout gets
  steps         [{ start, end }], in tokens, or in UTF-16 units of a text
  firstError    the first step that differs from the reference; -1: none
  reference     the verified rollout that agrees with it longest; -1: none
  stepCredits   one number per step
  advantages    one number per token; of a text, the ranges [{ start, end, advantage }] that are not 0
  unverified    why it took no part, where it did not: no reward, or nothing written
Credit is each rollout's own: a step that several share is not summed. Other fields are kept.
A line that holds no such problem is left out and reported. Exits 1 where no line holds one.`;

export function creditCommand(streams: Streams = process): Command {
  return new Command("credit")
    .description("find first errors in recorded rollouts and turn their rewards into credit per step")
    .argument("<file>", "rollouts as JSON Lines; - for stdin")
    .option("--out <file>", "write the result to a file instead of stdout")
    .addOption(jsonOption())
    .addOption(
      new Option(
        "--steps <rule>",
        "where steps end: newline (text), tokens:N (every N tokens), delimiter:ID[,ID] (after these token ids); " +
          "default: newline where all rollouts have a text, else tokens:1",
      ).argParser(parseSteps),
    )
    .addOption(new Option("--rule <rule>", "how outcomes become credit").choices(rules).default("contrast"))
    .addOption(new Option("--advantage <name>", "baseline of a group").choices(advantages).default("grpo"))
    .option("--threshold <number>", "a rollout succeeded if its reward is above this", finiteNumber, 0.5)
    .addHelpText("after", details)
    .action(async (file: string, options: CreditOptions) => {
      const report = await runCredit(file, options, streams);
      if (report.problems === 0) {
        streams.stderr.write(`stepcredit: ${file} holds no problem with rollouts\n`);
        process.exitCode = 1;
      }
    });
}

function parseSteps(text: string): StepRule {
  if (text === "newline") return { kind: "newline" };
  const [kind, value, ...rest] = text.split(":");
  if (rest.length === 0 && value !== undefined) {
    if (kind === "tokens") return { kind, count: integerFrom(1)(value) };
    if (kind === "delimiter") return { kind, tokenIds: value.split(",").map(integerFrom(0)) };
  }
  throw new InvalidArgumentError("Expected newline, tokens:N or delimiter:ID.");
}

async function runCredit(path: string, options: CreditOptions, streams: Streams): Promise<CreditReport> {
  const input = path === "-" ? undefined : await openInput(path);
  const opened: FileHandle[] = input === undefined ? [] : [input];
  // The streams close their files; a file whose stream is never made, or never read, is closed at the end.
  const chunks = input?.createReadStream() ?? streams.stdin;
  try {
    const output = options.out === undefined ? undefined : await openOutput(options.out, input);
    if (output !== undefined) opened.push(output);
    const json = options.json === undefined ? undefined : await openOutput(options.json, input);
    if (json !== undefined) opened.push(json);

    const tally = new CreditTally(options.threshold);
    const lines = creditLines(readable(chunks, path), options, tally, streams.stderr);
    if (output === undefined) await pipeline(lines, streams.stdout, { end: false });
    else await pipeline(lines, output.createWriteStream()).catch(nameFile(options.out));

    const report = tally.report();
    const reportTo = output === undefined ? streams.stderr : streams.stdout;
    for (const line of describeCreditReport(report)) reportTo.write(`${line}\n`);
    const { steps = "default", rule, advantage, threshold } = options;
    if (json !== undefined) await writeJson(json, { settings: { steps, rule, advantage, threshold }, ...report });
    return report;
  } finally {
    chunks.destroy();
    for (const file of opened) await file.close();
  }
}

/** One line in, one line out, in order, as fast as they are taken. */
async function* creditLines(
  chunks: AsyncIterable<Uint8Array>,
  config: CreditConfig,
  tally: CreditTally,
  stderr: Streams["stderr"],
): AsyncGenerator<string> {
  const line = progress(stderr);
  for await (const row of readJsonl(chunks)) {
    const credited = "malformed" in row ? row.malformed : creditValue(row.value, config);
    if (typeof credited === "string") tally.skip(row.line, credited);
    else {
      tally.add(credited.problem);
      yield `${credited.json}\n`;
    }
    line.update(`${tally.problems} problems`);
  }
  line.done();
}

/** Rethrows what went wrong with a file that is being written, with its name. */
function nameFile(path: string | undefined): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    throw new Error(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  };
}

/** The bytes of the input; an error while reading them names it. */
async function* readable(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
}

/** The problem with its credits and how that is written, or why there is none. */
function creditValue(value: unknown, config: CreditConfig): { problem: CreditedProblem; json: string } | string {
  try {
    const problem = creditRecorded(parseRecordedProblem(value), config);
    return { problem, json: JSON.stringify(problem) };
  } catch (error) {
    // A field of the wrong kind; a value nested too deeply to be written again.
    if (error instanceof TypeError || error instanceof RangeError) return error.message;
    throw error;
  }
}
