import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { errorLine, exitCodeOf } from "../../src/cli/errors.ts";
import { verifyCommand } from "../../src/cli/verify.ts";
import { commandStreams } from "../support/streams.ts";

const scratch = mkdtempSync(join(tmpdir(), "verify-cli-"));
afterAll(() => rmSync(scratch, { recursive: true }));
afterEach(() => (process.exitCode = undefined));

/** Runs `stepcredit verify …` in this process. */
async function verify(args: readonly string[], stdin = "") {
  const { stdout, stderr, ...rest } = commandStreams(stdin);
  const streams = { stdout, stderr, ...rest };
  const program = new Command().exitOverride().configureOutput({ writeErr: (text) => void stderr.write(text) });
  const command = verifyCommand(streams).copyInheritedSettings(program);
  try {
    await command.parseAsync([...args], { from: "user" });
    return { code: Number(process.exitCode ?? 0), stdout, stderr: stderr.text };
  } catch (error) {
    if (!(error instanceof CommanderError)) stderr.write(errorLine(error));
    return { code: exitCodeOf(error), stdout, stderr: stderr.text };
  }
}

const lines = (...values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join("");

describe("stepcredit verify", () => {
  it("gives each response a reward and keeps other fields", async () => {
    const input = lines(
      { id: 1, answer: "1/2", response: "so \\boxed{0.5}", expected: 1 },
      { id: 2, answer: "1/2", response: "so \\boxed{2}" },
    );
    const { code, stdout, stderr } = await verify(["-", "--verifier", "math"], input);
    expect(code).toBe(0);
    expect(stdout.values).toEqual([
      { id: 1, expected: 1, reward: 1, extracted: "0.5" },
      { id: 2, reward: 0, extracted: "2" },
    ]);
    expect(stderr).toContain("2 responses: 1 right, 1 wrong, 0 unverified");
  });

  it("gives no reward where the answer cannot be judged, and says why", async () => {
    const input = lines({ id: 1, answer: "none", response: "3" }, { id: 2, response: "3" });
    const { code, stdout } = await verify(["-", "--verifier", "number"], input);
    expect(code).toBe(0);
    expect(stdout.values).toEqual([
      { id: 1, reward: null, extracted: "3", unverified: expect.stringContaining("expected a number") as string },
      { id: 2, reward: null, extracted: "3", unverified: expect.stringContaining("expected answer to be") as string },
    ]);
  });

  it("reports lines that are no response by their number, and goes on", async () => {
    const input = `{"id": 1\n${lines({ id: 2 }, [3])}${lines({ id: 4, answer: "B", response: "(B)" })}`;
    const { code, stdout, stderr } = await verify(["-", "--verifier", "choice"], input);
    expect(code).toBe(0);
    expect(stdout.values).toEqual([{ id: 4, reward: 1, extracted: "B" }]);
    expect(stderr).toMatch(/^line 1: malformed JSON/);
    expect(stderr).toContain("\nline 2: expected response to be a text");
    expect(stderr).toContain("\nline 3: expected a record");
  });

  it("looks behind the marker and writes files", async () => {
    const [out, json] = [join(scratch, "out.jsonl"), join(scratch, "report.json")];
    const input = lines({ id: 1, answer: "#### 3", response: "5\n#### 3" });
    const args = ["-", "--verifier", "number", "--marker", "####", "--out", out, "--json", json];
    expect((await verify(args, input)).code).toBe(0);
    expect(JSON.parse(readFileSync(out, "utf8"))).toEqual({ id: 1, reward: 1, extracted: "3" });
    expect(JSON.parse(readFileSync(json, "utf8"))).toEqual({
      settings: { verifier: "number", marker: "####" },
      responses: 1,
      right: 1,
      wrong: 0,
      unverified: 0,
      malformed: 0,
    });
  });

  it("asks a module of the user's own, and keeps the order of the lines", async () => {
    const module = join(scratch, "slow.mjs");
    // The first answer comes last.
    const source = `export default async (solution, answer) => {
      await new Promise((resolve) => setTimeout(resolve, solution === "first" ? 200 : 0));
      if (solution === "bad") throw new Error("no idea");
      return solution === "odd" ? "1" : answer;
    };`;
    writeFileSync(module, source);
    const answers = ["first", "bad", "odd", "last"].map((response, i) => ({ id: i, answer: i / 4, response }));
    const { code, stdout, stderr } = await verify(["-", "--verifier", module, "--concurrency", "4"], lines(...answers));
    expect(code).toBe(0);
    expect(stdout.values).toEqual([
      { id: 0, reward: 0, extracted: null },
      { id: 1, reward: null, extracted: null, unverified: "no idea" },
      { id: 2, reward: null, extracted: null, unverified: "verify: expected a finite number, received 1" },
      { id: 3, reward: 0.75, extracted: null },
    ]);
    expect(stderr).toContain("4 responses: 1 right, 1 wrong, 2 unverified");
  });

  it("gives no reward where a module takes too long", async () => {
    const module = join(scratch, "never.mjs");
    writeFileSync(module, "export default { verify: () => new Promise(() => {}) };");
    const { stdout } = await verify(
      ["-", "--verifier", module, "--seconds", "0.05"],
      lines({ answer: 1, response: "1" }),
    );
    expect(stdout.values).toEqual([
      { reward: null, extracted: null, unverified: "verify: expected a verdict within 0.05 s" },
    ]);
  });

  it("names a module that is none, and the verifiers where a name is unknown", async () => {
    const nowhere = await verify(["-", "--verifier", join(scratch, "nowhere.mjs")]);
    expect(nowhere.code).toBe(2);
    expect(nowhere.stderr).toMatch(/nowhere\.mjs: expected a module .* found no such file/);
    expect((await verify(["-", "--verifier", "maths"])).stderr).toMatch(
      /Expected one of exact, .*javascript, or a module/,
    );
    expect((await verify(["-", "--seconds", "0"])).code).toBe(2);
  });

  it("exits 1 where no line is a response, 2 for an unknown verifier or a file that is not there", async () => {
    expect((await verify(["-"], `{"answer":"1/2","response":"0.5"}\n`)).code).toBe(0);
    expect((await verify(["-", "--verifier", "math"], "[]\n")).code).toBe(1);
    expect((await verify(["-", "--verifier", "maths"])).code).toBe(2);
    expect((await verify([join(scratch, "nowhere"), "--verifier", "math"])).code).toBe(2);
  });
});
