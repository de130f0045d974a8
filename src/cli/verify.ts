/** `stepcredit verify FILE`: rewards for recorded responses, JSON Lines in and out. */

import { Command, InvalidArgumentError, Option } from "commander";

import { readJsonl, type JsonlRow } from "../jsonl.ts";
import { inOrder } from "../ordered.ts";
import { successThreshold } from "../trajectory/verify.ts";
import { pythonContainments, type PythonContainment } from "../verifiers/code/python.ts";
import { expectedVerifier, isVerifierName, openVerifier, type OpenedVerifier } from "../verifiers/index.ts";
import { UsageError } from "./errors.ts";
import { workOnJsonl, type JsonlOptions, type Streams } from "./jsonl-command.ts";
import { finiteNumber, integerFrom, jsonOption } from "./options.ts";
import { progress } from "./output.ts";

interface VerifyOptions extends JsonlOptions {
  readonly verifier: string;
  readonly marker: string;
  readonly seconds: number;
  readonly concurrency: number;
  readonly containment: PythonContainment;
}

interface VerifyReport {
  responses: number;
  right: number;
  wrong: number;
  unverified: number;
  malformed: number;
}

const details = `
A line of FILE is a response and the known answer: { "id", "answer", "response" }. It gets
  reward       1 or 0, or what a module gives; null where it could not be judged
  extracted    what was taken for the response's answer; null where there is none
  unverified   why it could not be judged, where it could not
A verifier of a module FILE.mjs is its default export: { verify } or a function (solution, answer, finished) that gives a
number or a promise of one. It is code that this process runs.
Other fields are kept, "answer" and "response" are left out. A line that is no such record is reported.
Exits 1 where no line is one.`;

export function verifyCommand(streams: Streams = process): Command {
  return new Command("verify")
    .description("judge recorded responses by their known answers")
    .argument("<file>", "responses as JSON Lines; - for stdin")
    .addOption(new Option("--verifier <name>", expectedVerifier).argParser(verifierName).default("math"))
    .option("--marker <text>", "the answer comes after its last occurrence, such as ####", "")
    .option("--seconds <number>", "for one run of a program, or one verdict of a module", seconds, 10)
    .option(
      "--concurrency <number>",
      "programs, or verdicts of a module, at a time; 0: usable cores",
      integerFrom(0),
      0,
    )
    .addOption(
      new Option("--containment <kind>", "what holds a program in Python")
        .choices(pythonContainments)
        .default("kernel"),
    )
    .option("--out <file>", "write the result to a file instead of stdout")
    .addOption(jsonOption())
    .addHelpText("after", details)
    .action(async (file: string, options: VerifyOptions) => {
      const report = await runVerify(file, options, streams);
      if (report.responses === 0) {
        streams.stderr.write(`stepcredit: ${file} holds no response with an answer\n`);
        process.exitCode = 1;
      }
    });
}

function verifierName(text: string): string {
  if (isVerifierName(text)) return text;
  throw new InvalidArgumentError(`Expected ${expectedVerifier}.`);
}

function seconds(text: string): number {
  const value = finiteNumber(text);
  if (value > 0 && value <= 86_400) return value;
  throw new InvalidArgumentError("Expected a number above 0, at most a day.");
}

async function runVerify(path: string, options: VerifyOptions, streams: Streams): Promise<VerifyReport> {
  const report: VerifyReport = { responses: 0, right: 0, wrong: 0, unverified: 0, malformed: 0 };
  const { verifier: name, marker } = options;
  const verifier = await openVerifier(name, options).catch((error: unknown) => {
    throw new UsageError((error as Error).message, { cause: error });
  });
  await workOnJsonl(path, options, streams, {
    lines: (chunks) => verdicts(chunks, verifier, report, streams.stderr),
    summary: () => [
      `${report.responses} responses: ${report.right} right, ${report.wrong} wrong, ${report.unverified} unverified`,
    ],
    result: () => ({ settings: { verifier: name, marker }, ...report }),
  });
  return report;
}

/** Records that are read ahead: the verifier says how many of them it judges at a time. */
const ahead = 256;

/** One line in, one line out, in order, as fast as they are taken. */
async function* verdicts(
  chunks: AsyncIterable<Uint8Array>,
  verifier: OpenedVerifier,
  report: VerifyReport,
  stderr: Streams["stderr"],
): AsyncGenerator<string> {
  const line = progress(stderr);
  for await (const judged of inOrder(readJsonl(chunks), ahead, (row) => judgeRow(verifier, row))) {
    if ("malformed" in judged) {
      report.malformed++;
      line.done();
      stderr.write(`line ${judged.line}: ${judged.malformed}\n`);
      continue;
    }
    const { kept, verdict } = judged;
    report.responses++;
    report[verdict.reward === null ? "unverified" : verdict.reward > successThreshold ? "right" : "wrong"]++;
    yield `${JSON.stringify({ ...kept, ...verdict })}\n`;
    line.update(`${report.responses} responses`);
  }
  line.done();
}

type JudgedRow =
  { readonly line: number; readonly malformed: string } | { readonly kept: object; readonly verdict: Verdict };

async function judgeRow(verifier: OpenedVerifier, row: JsonlRow): Promise<JudgedRow> {
  const record = "malformed" in row ? row.malformed : recordOf(row.value);
  if (typeof record === "string") return { line: row.line, malformed: record };
  const { answer, response, ...kept } = record;
  return { kept, verdict: await judge(verifier, response, answer) };
}

interface ResponseRecord {
  readonly answer: unknown;
  readonly response: string;
}

/** The record, or why the value is none. */
function recordOf(value: unknown): ResponseRecord | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "expected a record with a response";
  const record = value as Readonly<Record<string, unknown>>;
  if (typeof record["response"] !== "string") {
    return `expected response to be a text, received ${JSON.stringify(record["response"])}`;
  }
  return { ...record, answer: record["answer"], response: record["response"] };
}

interface Verdict {
  readonly reward: number | null;
  readonly extracted: string | null;
  readonly unverified?: string;
}

/** A verifier that throws, rejects or gives no finite number gives no reward. */
async function judge(verifier: OpenedVerifier, response: string, answer: unknown): Promise<Verdict> {
  let extracted: string | null = null;
  try {
    extracted = verifier.extract?.(response) ?? null;
    const reward = await verifier.verify(response, answer, true);
    if (Number.isFinite(reward)) return { reward, extracted };
    return { reward: null, extracted, unverified: `verify: expected a finite number, received ${String(reward)}` };
  } catch (error) {
    return { reward: null, extracted, unverified: error instanceof Error ? error.message : String(error) };
  }
}
