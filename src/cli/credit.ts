/** `stepcredit credit FILE`: step credits for recorded rollouts, JSON Lines in and out. */

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
import { workOnJsonl, type JsonlOptions, type Streams } from "./jsonl-command.ts";
import { finiteNumber, integerFrom, jsonOption } from "./options.ts";
import { progress } from "./output.ts";

interface CreditOptions extends JsonlOptions {
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
  const { steps = "default", rule, advantage, threshold } = options;
  const tally = new CreditTally(threshold);
  await workOnJsonl(path, options, streams, {
    lines: (chunks) => creditLines(chunks, options, tally, streams.stderr),
    summary: () => describeCreditReport(tally.report()),
    result: () => ({ settings: { steps, rule, advantage, threshold }, ...tally.report() }),
  });
  return tally.report();
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
