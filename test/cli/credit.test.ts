import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { creditCommand } from "../../src/cli/credit.ts";
import { errorLine, exitCodeOf } from "../../src/cli/errors.ts";
import { repository } from "../support/imports.ts";
import { node } from "../support/installed.ts";
import { commandStreams } from "../support/streams.ts";

const scratch = mkdtempSync(join(tmpdir(), "credit-cli-"));
afterAll(() => rmSync(scratch, { recursive: true }));
afterEach(() => (process.exitCode = undefined));

interface Ran {
  readonly code: number;
  /** the lines of stdout, as JSON */
  readonly results: unknown[];
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `stepcredit credit …` in this process. */
async function credit(args: readonly string[], stdin: string | Uint8Array = ""): Promise<Ran> {
  const streams = commandStreams(stdin);
  const program = new Command().exitOverride().configureOutput({ writeErr: (text) => void streams.stderr.write(text) });
  const command = creditCommand(streams).copyInheritedSettings(program);
  const ran = (code: number): Ran => ({
    code,
    stdout: streams.stdout.text,
    stderr: streams.stderr.text,
    get results() {
      return streams.stdout.values;
    },
  });
  try {
    await command.parseAsync([...args], { from: "user" });
    return ran(Number(process.exitCode ?? 0));
  } catch (error) {
    if (!(error instanceof CommanderError)) streams.stderr.write(errorLine(error));
    return ran(exitCodeOf(error));
  }
}

function written(name: string, content: string | Uint8Array): string {
  const path = join(scratch, name);
  writeFileSync(path, content);
  return path;
}

const problem = (id: string, ...rollouts: readonly (readonly [string, number])[]) =>
  JSON.stringify({ id, prompt: "?", rollouts: rollouts.map(([text, reward]) => ({ text, reward })) });

// 1⏎2 → 1 and 1⏎3 → 0: two outcomes 1 and 0 have A = ± ½ before and ± 0.7071 after the division by their deviation.
const pair = problem("pair", ["1\n2", 1], ["1\n3", 0]);
const A = 0.5 / (Math.SQRT1_2 + 1e-4);

describe("stepcredit credit", () => {
  it("adds credits to each problem and reports on stderr", async () => {
    const { code, results, stderr } = await credit([written("pair.jsonl", pair)]);
    expect(code).toBe(0);
    expect(results).toMatchObject([
      {
        id: "pair",
        unit: "utf16",
        corrections: [],
        rollouts: [
          { reward: 1, firstError: -1, reference: -1, stepCredits: [expect.closeTo(A), expect.closeTo(A)] },
          {
            reward: 0,
            firstError: 1,
            reference: 0,
            stepCredits: [0, expect.closeTo(-A)],
            advantages: [{ start: 2, end: 3 }],
          },
        ],
      },
    ]);
    expect(stderr).toMatch(/^problems +1\nrollouts +2: 1 succeeded, 1 failed, 0 unverified\n/);
  });

  it("writes the result and the report to files, and the words to stdout", async () => {
    const out = join(scratch, "credits.jsonl");
    const json = join(scratch, "report.json");
    const { code, stdout, stderr } = await credit([
      written("pair.jsonl", pair),
      "--out",
      out,
      "--json",
      json,
      "--advantage",
      "rloo",
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^problems +1\n/);
    expect(JSON.parse(readFileSync(out, "utf8"))).toMatchObject({
      rollouts: [{ stepCredits: [1, 1] }, { stepCredits: [0, -1] }],
    });
    expect(JSON.parse(readFileSync(json, "utf8"))).toMatchObject({
      settings: { steps: "default", rule: "contrast", advantage: "rloo", penaltyWeight: 1, threshold: 0.5 },
      problems: 1,
      withReferenceShare: 1,
      firstErrors: [{ step: 1, count: 1, share: 1 }],
    });
  });

  it("lets failures pay less of their advantage where asked", async () => {
    const file = written("pair.jsonl", pair);
    const { results } = await credit([file, "--penalty-weight", "0.5"]);
    expect(results).toMatchObject([{ rollouts: [{}, { stepCredits: [0, expect.closeTo(-A / 2)] }] }]);
  });

  it("counts as a success what its threshold says, in the report too", async () => {
    const json = join(scratch, "threshold.json");
    const graded = written("graded.jsonl", problem("graded", ["1\n2", 0.9], ["1\n3", 0.7]));
    const successes = async (...more: readonly string[]): Promise<unknown> => {
      expect((await credit([graded, "--json", json, ...more])).code).toBe(0);
      return JSON.parse(readFileSync(json, "utf8"));
    };
    expect(await successes()).toMatchObject({ succeeded: 2, failed: 0, groups: { allRight: 1 } });
    expect(await successes("--threshold", "0.8")).toMatchObject({ succeeded: 1, failed: 1, groups: { mixed: 1 } });
  });

  it("reads stdin, a byte order mark, carriage returns, empty lines and a last line without an end", async () => {
    const { code, results, stderr } = await credit(
      ["-"],
      `\uFEFF${pair}\r\n\r\n${problem("none")}\n\n${problem("one", ["x", 1])}`,
    );
    expect(code).toBe(0);
    expect(results.map((result) => (result as { id: string }).id)).toEqual(["pair", "none", "one"]);
    expect(stderr).toContain("1 mixed, 1 all right, 0 all wrong, 1 without a verified rollout");
  });

  it("names the line and the reason of what it leaves out, and goes on", async () => {
    const lines = [pair, '{"id": "cut', '{"id": 3, "prompt": "?", "rollouts": 4}', "", problem("last", ["x", 1])];
    const { code, results, stderr } = await credit([written("some.jsonl", lines.join("\n"))]);
    expect([code, results.length]).toEqual([0, 2]);
    expect(stderr).toMatch(
      /skipped lines 2\n {2}line 2: malformed JSON: .*\n {2}line 3: rollouts: expected a list, received 4\n$/,
    );
  });

  it("leaves out a line that is nested too deeply to be written again", async () => {
    const deep = `{"id":1,"prompt":"","rollouts":[],"x":${"[".repeat(50_000)}${"]".repeat(50_000)}}`;
    const { code, results, stderr } = await credit(["-"], `${deep}\n${pair}\n`);
    expect([code, results.length]).toEqual([0, 1]);
    expect(stderr).toContain("line 1: ");
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "hello\nworld\n"],
    ["no rollouts", '{"question": "?"}\n'],
  ])("exits 1 for a file that holds %s", async (_what, content) => {
    const { code, stdout, stderr } = await credit([written("bad.jsonl", content)]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/stepcredit: .*bad\.jsonl holds no problem with rollouts\n$/);
  });

  it("exits 2 and says why a file cannot be read or written", async () => {
    const file = written("pair.jsonl", pair);
    const absent = join(scratch, "nowhere.jsonl");
    expect(await credit([absent])).toMatchObject({
      code: 2,
      stderr: `stepcredit: cannot read ${absent}: no such file or directory`,
    });
    expect(await credit([scratch])).toMatchObject({
      code: 2,
      stderr: `stepcredit: cannot read ${scratch}: it is a directory`,
    });
    expect(await credit([file, "--out", join(absent, "x")])).toMatchObject({ code: 2, stdout: "" });
    expect(await credit([file, "--json", join(absent, "x")])).toMatchObject({ code: 2, stdout: "" });
    expect(await credit([file, "--out", file])).toMatchObject({
      code: 2,
      stderr: `stepcredit: cannot write ${file}: it is the input`,
    });
    expect(readFileSync(file, "utf8")).toBe(pair);
  });

  it("cuts tokens as it is told", async () => {
    const tokens = JSON.stringify({
      id: 1,
      prompt: [1],
      rollouts: [
        { tokens: [4, 0, 5], reward: 1 },
        { tokens: [4, 0, 6], reward: 0 },
      ],
    });
    const steps = async (rule: string) =>
      (await credit(["-", "--steps", rule], tokens)).results.map(
        (result) => (result as { rollouts: { steps: unknown }[] }).rollouts[1].steps,
      );
    expect(await steps("delimiter:9,0")).toEqual([[{ start: 0, end: 2 }, { start: 2, end: 3 }]]); // prettier-ignore
    expect(await steps("tokens:2")).toEqual([[{ start: 0, end: 2 }, { start: 2, end: 3 }]]); // prettier-ignore
    expect((await credit(["-", "--steps", "newline"], tokens)).stderr).toContain("line 1: rollouts[0].text: ");
  });

  it.each([
    [["--steps", "words"], "Expected newline, tokens:N, delimiter:ID, entropy:NATS or entropy:P%."],
    [["--steps", "tokens:0"], "Expected an integer of at least 1."],
    [["--steps", "delimiter:"], "Expected a number."],
    [["--steps", "newline:1"], "Expected newline, tokens:N, delimiter:ID, entropy:NATS or entropy:P%."],
    [["--threshold", "high"], "Expected a number."],
    [["--penalty-weight", "-1"], "Expected a number of at least 0."],
    [["--rule", "contras"], "Allowed choices are contrast, positiveOnly, outcome, valueDifference."],
    [["--treshold", "1"], "(Did you mean --threshold?)"],
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await credit(["x.jsonl", ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe("examples/gsm8k-to-rollouts.mjs", () => {
  const convert = (input: string, output: string) =>
    node([join(repository, "examples", "gsm8k-to-rollouts.mjs"), input, output]);
  const recorded = join(repository, "..", "shared", "data", "gsm8k", "model_solutions_part.jsonl");

  it("turns recorded solutions into rollouts", () => {
    const input = { question: "2 + 3?", ground_truth: "2 + 3 = 5\nA: 5", small: { is_correct: false, solution: "A: 6" }, large: { is_correct: true, solution: "A: 5" } }; // prettier-ignore
    const output = join(scratch, "rollouts.jsonl");
    expect(convert(written("solutions.jsonl", `${JSON.stringify(input)}\n`), output).stdout).toBe(
      "1 problems, 2 rollouts\n",
    );
    expect(JSON.parse(readFileSync(output, "utf8"))).toEqual({
      id: "gsm8k-1",
      prompt: "2 + 3?",
      answer: "5",
      rollouts: [
        { model: "small", text: "A: 6", reward: 0 },
        { model: "large", text: "A: 5", reward: 1 },
      ],
    });
    expect(node([join(repository, "examples", "gsm8k-to-rollouts.mjs")]).status).toBe(2);
  });

  // Counted in the file by other means: verdicts, and problems by their verdicts. A failed rollout has a reference
  // exactly where its group has a success.
  it.skipIf(!existsSync(recorded))(
    "gives 663 problems whose figures are those of the recorded verdicts (skipped without them)",
    async () => {
      const rollouts = join(scratch, "gsm8k.jsonl");
      const json = join(scratch, "gsm8k-report.json");
      expect(convert(recorded, rollouts).status).toBe(0);
      const { code, results } = await credit([rollouts, "--json", json]);
      expect([code, results.length]).toEqual([0, 663]);
      expect(JSON.parse(readFileSync(json, "utf8"))).toMatchObject({
        problems: 663,
        rollouts: 2652,
        succeeded: 975,
        failed: 1677,
        unverified: 0,
        groups: { allRight: 70, allWrong: 222, mixed: 371 },
        withReference: 789,
        skippedLines: 0,
      });
    },
  );
});
