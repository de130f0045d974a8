/** `stepcredit verify FILE`: rewards for recorded responses, JSON Lines in and out. */

import { Command, Option } from "commander";
import { readJsonl } from "../jsonl.ts";
import { verifierNames, verifiers, type VerifierName } from "../verifiers/index.ts";
import type { ExtractingVerifier } from "../verifiers/verifier.ts";
import { workOnJsonl, type JsonlOptions, type Streams } from "./jsonl-command.ts";
import { jsonOption } from "./options.ts";
import { progress } from "./output.ts";

interface VerifyOptions extends JsonlOptions {
  readonly verifier: VerifierName;
  readonly marker: string;
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
  reward       1 or 0; null where it could not be judged
  extracted    what was taken for the response's answer; null where there is none
  unverified   why it could not be judged, where it could not
Other fields are kept, "answer" and "response" are left out. A line that is no such record is reported.
Exits 1 where no line is one.`;

export function verifyCommand(streams: Streams = process): Command {
  return new Command("verify")
    .description("judge recorded responses by their known answers")
    .argument("<file>", "responses as JSON Lines; - for stdin")
    .addOption(new Option("--verifier <name>", "what is compared").choices(verifierNames).default("math"))
    .option("--marker <text>", "the answer comes after its last occurrence, such as ####", "")
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

async function runVerify(path: string, options: VerifyOptions, streams: Streams): Promise<VerifyReport> {
  const report: VerifyReport = { responses: 0, right: 0, wrong: 0, unverified: 0, malformed: 0 };
  const { verifier, marker } = options;
  await workOnJsonl(path, options, streams, {
    lines: (chunks) => verdicts(chunks, verifiers[verifier](marker), report, streams.stderr),
    summary: () => [
      `${report.responses} responses: ${report.right} right, ${report.wrong} wrong, ${report.unverified} unverified`,
    ],
    result: () => ({ settings: { verifier, marker }, ...report }),
  });
  return report;
}

/** One line in, one line out, in order, as fast as they are taken. */
async function* verdicts(
  chunks: AsyncIterable<Uint8Array>,
  verifier: ExtractingVerifier,
  report: VerifyReport,
  stderr: Streams["stderr"],
): AsyncGenerator<string> {
  const line = progress(stderr);
  for await (const row of readJsonl(chunks)) {
    const record = "malformed" in row ? row.malformed : recordOf(row.value);
    if (typeof record === "string") {
      report.malformed++;
      line.done();
      stderr.write(`line ${row.line}: ${record}\n`);
      continue;
    }
    const { answer, response, ...kept } = record;
    const verdict = judge(verifier, response, answer);
    report.responses++;
    report[verdict.reward === null ? "unverified" : verdict.reward > 0 ? "right" : "wrong"]++;
    yield `${JSON.stringify({ ...kept, ...verdict })}\n`;
    line.update(`${report.responses} responses`);
  }
  line.done();
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

/** A verifier that throws gives no reward. */
function judge(verifier: ExtractingVerifier, response: string, answer: unknown): Verdict {
  const extracted = verifier.extract(response) ?? null;
  try {
    return { reward: verifier.verify(response, answer, true), extracted };
  } catch (error) {
    return { reward: null, extracted, unverified: error instanceof Error ? error.message : String(error) };
  }
}
