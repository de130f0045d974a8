/** The lines of `credit`: a problem in, a problem with credits out, in order, those that an earlier call has left among them. */

import { prepareCredit, type CreditMeans } from "../credit-engine.ts";
import type { CreditTally } from "../credit-report.ts";
import type { CreditConfig, CreditedProblem } from "../credit.ts";
import type { JsonlRow } from "../jsonl.ts";
import { inOrder } from "../ordered.ts";
import { parseRecordedProblem } from "../recorded.ts";
import { UsageError } from "./errors.ts";
import type { Streams } from "./jsonl-command.ts";
import { progress } from "./output.ts";
import type { BegunOutput } from "./resume.ts";

export interface CreditWork {
  readonly config: CreditConfig;
  readonly means: CreditMeans;
  /** problems worked on at a time */
  readonly ahead: number;
}

interface Skipped {
  readonly line: number;
  readonly reason: string;
}

/** A problem that can be credited. Those, and no others, have lines in the output. */
interface Job {
  readonly line: number;
  readonly finish: () => Promise<CreditedProblem>;
  /** which line of the output it has already, from 0, and what stands there */
  readonly kept?: { readonly at: number; readonly problem: CreditedProblem };
}

type Done = Skipped | { readonly problem: CreditedProblem; readonly json?: string; readonly replaces?: number };

export async function* creditLines(
  rows: AsyncIterable<JsonlRow>,
  work: CreditWork,
  tally: CreditTally,
  begun: BegunOutput | undefined,
  stderr: Streams["stderr"],
): AsyncGenerator<string> {
  const line = progress(stderr);
  for await (const done of inOrder(jobs(rows, work, begun), work.ahead, finish)) {
    if ("reason" in done) tally.skip(done.line, done.reason);
    else {
      const { problem, json, replaces } = done;
      tally.add(problem);
      if (json !== undefined && replaces === undefined) yield `${json}\n`;
      if (json !== undefined && replaces !== undefined) await begun?.redo(replaces, json);
    }
    line.update(`${tally.problems} problems`);
  }
  line.done();
}

/** Every line with the work that it asks for; the first ones with the lines that the output has for them. */
async function* jobs(
  rows: AsyncIterable<JsonlRow>,
  { config, means }: CreditWork,
  begun: BegunOutput | undefined,
): AsyncGenerator<Skipped | Job> {
  const lines = begun?.values();
  let at = 0;
  for await (const row of rows) {
    const job = "malformed" in row ? { line: row.line, reason: row.malformed } : jobOf(row, config, means);
    const kept = "reason" in job ? undefined : await lines?.next();
    if ("reason" in job || kept === undefined || kept.done === true) yield job;
    else yield { ...job, kept: { at: at++, problem: creditedOf(kept.value, job, at) } };
  }
  if ((await lines?.next())?.done === false) {
    throw new UsageError(`cannot go on with --out: it has more problems than the ${at} of the input`);
  }
}

function jobOf(
  { line, value }: { readonly line: number; readonly value: unknown },
  config: CreditConfig,
  means: CreditMeans,
): Skipped | (Job & { readonly id: unknown }) {
  try {
    const problem = parseRecordedProblem(value);
    JSON.stringify(problem);
    return { line, id: problem.id, finish: prepareCredit(problem, config, means) };
  } catch (error) {
    return skippedBy(error, line);
  }
}

/** A field of the wrong kind; a value nested too deeply to be written again. */
function skippedBy(error: unknown, line: number): Skipped {
  if (error instanceof TypeError || error instanceof RangeError) return { line, reason: error.message };
  throw error;
}

/** What stands in a line of the output, if it is of this problem. */
function creditedOf(value: unknown, { id }: { readonly id: unknown }, at: number): CreditedProblem {
  const problem = value as Partial<CreditedProblem> | null;
  if (problem?.id === id && Array.isArray(problem?.rollouts) && Array.isArray(problem.corrections)) {
    return problem as CreditedProblem;
  }
  throw new UsageError(
    `cannot go on with --out: expected the problem ${JSON.stringify(id)} in its line ${at}, ` +
      `received ${JSON.stringify(problem?.id) ?? "no problem"}`,
  );
}

async function finish(job: Skipped | Job): Promise<Done> {
  if ("reason" in job) return job;
  const { line, kept } = job;
  if (kept !== undefined && kept.problem.error === undefined) return { problem: kept.problem };
  let problem: CreditedProblem;
  try {
    problem = await job.finish();
  } catch (error) {
    return skippedBy(error, line);
  }
  if (kept === undefined) return { problem, json: JSON.stringify(problem) };
  // Where it fails again, what was there stays.
  return problem.error === undefined
    ? { problem, json: JSON.stringify(problem), replaces: kept.at }
    : { problem: kept.problem };
}
