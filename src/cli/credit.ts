/** `stepcredit credit FILE`: step credits for recorded rollouts, JSON Lines in and out. */

import { stat } from "node:fs/promises";

import { Command, InvalidArgumentError, Option } from "commander";

import { CreditTally, describeCreditReport, type CreditReport } from "../credit-report.ts";
import type { AdvantageName, StepRule } from "../credit.ts";
import { readJsonl } from "../jsonl.ts";
import { parseEntropySteps } from "../trajectory/entropy-steps.ts";
import type { CreditRule } from "../trajectory/supervise.ts";
import { addEngineOptions, engineSettings, openMeans, type EngineOptions } from "./credit-engine.ts";
import { creditLines } from "./credit-lines.ts";
import { UsageError } from "./errors.ts";
import { workOnJsonl, type JsonlOptions, type Streams } from "./jsonl-command.ts";
import { finiteNumber, integerFrom, jsonOption, notNegative } from "./options.ts";
import { forgetRedone } from "./resume.ts";

interface CreditOptions extends JsonlOptions, EngineOptions {
  readonly steps?: StepRule;
  readonly rule: CreditRule;
  readonly advantage: AdvantageName;
  readonly penaltyWeight: number;
  readonly threshold: number;
}

const rules = ["contrast", "positiveOnly", "outcome", "valueDifference"] as const satisfies readonly CreditRule[];
const advantages = ["grpo", "rloo"] as const satisfies readonly AdvantageName[];

const details = `
A line of FILE is a problem with its rollouts:
  { "id", "prompt", "answer"?, "rollouts": [{ "text" or "tokens", "logprobs"?, "entropies"?, "reward"? }] }
Every rollout gets
  steps         [{ start, end }], in tokens, or in UTF-16 units of a text
  firstError    the first step that differs from the reference; -1: none
  reference     the verified rollout that agrees with it longest; -1: none, or a correction agrees longer
  correction    the correction that is its reference, where one is
  stepCredits   one number per step
  advantages    one number per token; of a text, the ranges [{ start, end, advantage }] that are not 0
  unverified    why it took no part, where it did not: no reward, or nothing written
Credit is each rollout's own: a step that several share is not summed. Other fields are kept.
A line that holds no such problem is left out and reported. Exits 1 where no line holds one.
With --engine and --verifier, references are written where a problem has none. A problem gets
  corrections   [{ rollout, source, generated, sharedSteps, text, tokens?, reward, steps, stepCredits, advantages }]
  spent         tokens in all, and what each source tried, had verified and spent
  error         why the engine could not be asked to the end, where it could not: then exits 1, and --resume asks again
docs/credit.md says more.`;

export function creditCommand(streams: Streams = process): Command {
  const command = new Command("credit");
  command
    .description("find first errors in recorded rollouts and turn their rewards into credit per step")
    .argument("<file>", "rollouts as JSON Lines; - for stdin")
    .option("--out <file>", "write the result to a file instead of stdout")
    .addOption(jsonOption())
    .addOption(
      new Option(
        "--steps <rule>",
        "where steps end: newline, tokens:N (every N tokens), delimiter:ID[,ID] (after these token ids), entropy:NATS or " +
          "entropy:P% (before tokens with this surprise or entropy, or in the top P % so far; with ,N at least N tokens); " +
          "default: newline where all rollouts have a text or there is a tokenizer, else tokens:1",
      ).argParser(parseSteps),
    )
    .addOption(new Option("--rule <rule>", "how outcomes become credit").choices(rules).default("contrast"))
    .addOption(new Option("--advantage <name>", "baseline of a group").choices(advantages).default("grpo"))
    .option("--penalty-weight <number>", "of contrast: how much of its advantage a failure pays", notNegative, 1)
    .option("--threshold <number>", "a rollout succeeded if its reward is above this", finiteNumber, 0.5)
    .option("--resume", "go on with --out where an earlier call left it; asks again where the engine failed")
    .addHelpText("after", details);
  return addEngineOptions(command).action(async (file: string, options: CreditOptions) => {
    const { problems, engine } = await runCredit(file, options, streams, command);
    const failed = engine?.errors ?? 0;
    if (problems === 0) streams.stderr.write(`stepcredit: ${file} holds no problem with rollouts\n`);
    if (failed > 0) streams.stderr.write(`stepcredit: the engine failed for ${failed} of ${problems} problems\n`);
    if (problems === 0 || failed > 0) process.exitCode = 1;
  });
}

function parseSteps(text: string): StepRule {
  if (text === "newline") return { kind: "newline" };
  const [kind, value, ...rest] = text.split(":");
  if (rest.length === 0 && value !== undefined) {
    if (kind === "tokens") return { kind, count: integerFrom(1)(value) };
    if (kind === "delimiter") return { kind, tokenIds: value.split(",").map(integerFrom(0)) };
    const settings = kind === "entropy" ? parseEntropySteps(value) : undefined;
    if (settings !== undefined) return { kind: "entropy", settings };
  }
  throw new InvalidArgumentError("Expected newline, tokens:N, delimiter:ID, entropy:NATS or entropy:P%.");
}

async function runCredit(
  path: string,
  options: CreditOptions,
  streams: Streams,
  command: Command,
): Promise<CreditReport> {
  const { steps = "default", rule, advantage, penaltyWeight, threshold, out, resume } = options;
  const { means, tokenizer, ahead } = await openMeans(options, command);
  if (out !== undefined && resume !== true) await beginAnew(out, means.engine !== undefined);
  const tally = new CreditTally(threshold);
  const { tokenizer: _, ...others } = options;
  const config = { ...others, ...(tokenizer !== undefined && { tokenizer }) };
  await workOnJsonl(path, options, streams, {
    lines: (chunks, begun) => creditLines(readJsonl(chunks), { config, means, ahead }, tally, begun, streams.stderr),
    summary: () => describeCreditReport(tally.report()),
    result: () => ({
      settings: { steps, rule, advantage, penaltyWeight, threshold, ...engineSettings(options) },
      ...tally.report(),
    }),
  });
  return tally.report();
}

/** What an engine has written is paid for: it is not written over. */
async function beginAnew(out: string, engine: boolean): Promise<void> {
  const there = engine ? await stat(out).catch(() => undefined) : undefined;
  if (there !== undefined && there.isFile() && there.size > 0) {
    throw new UsageError(`${out} holds something already; --resume goes on with it`);
  }
  await forgetRedone(out);
}
