import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { creditCommand } from "../../src/cli/credit.ts";
import { errorLine, exitCodeOf } from "../../src/cli/errors.ts";
import { creditEngineDefaults, prepareCredit, type CreditEngine } from "../../src/credit-engine.ts";
import type { CreditedProblem } from "../../src/credit.ts";
import { openOps } from "../../src/ops/native.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { parseRecordedProblem } from "../../src/recorded.ts";
import { servePolicy } from "../../src/serve/server.ts";
import { HuggingFaceTokenizer } from "../../src/tokenizers/hugging-face.ts";
import type { Completion } from "../../src/trajectory/index.ts";
import { noRepairs } from "../../src/trajectory/repair.ts";
import { loadVerifier } from "../../src/verifiers/module.ts";
import { install, type Installed } from "../support/installed.ts";
import { writeLettersModel } from "../support/letters.ts";
import { commandStreams } from "../support/streams.ts";

const scratch = mkdtempSync(join(tmpdir(), "credit-engine-"));
const at = (name: string): string => join(scratch, name);
const lettersAt = at("letters");
const verifierAt = at("has-a.mjs");
const servers: Server[] = [];

beforeAll(() => {
  writeLettersModel(lettersAt);
  writeFileSync(verifierAt, "export default (solution) => (/a/.test(solution) ? 1 : 0);\n");
});
afterAll(() => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  rmSync(scratch, { recursive: true });
});
afterEach(() => (process.exitCode = undefined));

async function listening(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

/** Runs `stepcredit credit …` in this process. */
async function credit(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const streams = commandStreams();
  const program = new Command().exitOverride().configureOutput({ writeErr: (text) => void streams.stderr.write(text) });
  const ran = (code: number) => ({ code, stdout: streams.stdout.text, stderr: streams.stderr.text });
  try {
    await creditCommand(streams)
      .copyInheritedSettings(program)
      .parseAsync([...args], { from: "user" });
    return ran(Number(process.exitCode ?? 0));
  } catch (error) {
    if (!(error instanceof CommanderError)) streams.stderr.write(errorLine(error));
    return ran(exitCodeOf(error));
  } finally {
    process.exitCode = undefined;
  }
}

const credited = (path: string): CreditedProblem[] =>
  readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as CreditedProblem); // prettier-ignore

describe("credit against a served policy", () => {
  const input = at("rollouts.jsonl");
  const records = Array.from({ length: 24 }, (_, i) => ({
    id: `record ${i}`,
    prompt: "bcdefg".slice(i % 3),
    rollouts: [{ text: "hijlmn".slice(i % 4) }, { text: `op${i % 5 === 0 ? "a" : "q"}r` }],
  }));
  let policy: TransformerPolicy;
  let url = "";
  let requests = 0;
  let onRequest = (): void => undefined;
  let installed: Installed;
  const options = (out: string): string[] => [
    ...["credit", input, "--out", out, "--engine", url, "--model", "letters", "--verifier", verifierAt],
    ...["--tokenizer", lettersAt, "--steps", "tokens:2", "--identify", "siblings,search,repair", "--max-tokens", "6"],
    ...["--repair-template", "{prompt}{attempt}", "--concurrency", "3", "--seed", "4"],
  ];

  beforeAll(async () => {
    policy = await TransformerPolicy.load(lettersAt, { ops: openOps("cpu", { blas: false }) });
    const server = servePolicy(policy, { model: "letters" });
    server.on("request", () => {
      requests++;
      onRequest();
    });
    url = await listening(server);
    writeFileSync(input, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    installed = install();
  }, 300_000);
  afterAll(() => installed.remove());

  /** Runs it in a process of its own, which is killed when the server has had so many requests of it; gives its exit code. */
  async function child(out: string, more: readonly string[], killAt = Infinity): Promise<number | null> {
    const run = spawn(process.execPath, [join(installed.root, "dist", "cli", "main.js"), ...options(out), ...more], {
      stdio: "ignore",
    });
    const from = requests;
    onRequest = () => {
      if (requests - from >= killAt) run.kill("SIGKILL");
    };
    return new Promise((done) => run.once("close", done));
  }

  it("is what the policy gives in this process, and the same after kills", { timeout: 300_000 }, async () => {
    const whole = at("whole.jsonl");
    expect(await child(whole, [])).toBe(0);
    const found = credited(whole);
    expect(found.map(({ id }) => id)).toEqual(records.map(({ id }) => id));
    expect(found.flatMap(({ corrections }) => corrections).length).toBeGreaterThan(0);
    expect(found.some(({ spent }) => spent?.repair !== undefined && spent.repair.tried > 0)).toBe(true);

    const there = await inThisProcess();
    expect(found).toEqual(there.map((problem) => JSON.parse(JSON.stringify(problem)) as unknown));

    const total = requests;
    const killed = at("killed.jsonl");
    let kills = 0;
    for (const killAt of [1, 5, 9, 16, 23]) {
      // A call that has nothing left to ask comes to its end.
      if ((await child(killed, ["--resume"], killAt)) === null) kills++;
      const kept = readFileSync(killed, "utf8");
      expect(readFileSync(whole, "utf8").startsWith(kept)).toBe(true);
    }
    expect(kills).toBeGreaterThan(2);
    writeFileSync(killed, readFileSync(whole).subarray(0, readFileSync(killed).length + 40));
    expect(await child(killed, ["--resume"])).toBe(0);
    expect(readFileSync(killed).equals(readFileSync(whole))).toBe(true);
    expect(requests - total).toBeLessThan(3 * total);

    const asked = requests;
    expect(await child(killed, ["--resume"])).toBe(0);
    expect([requests, readFileSync(killed).equals(readFileSync(whole))]).toEqual([asked, true]);
  });

  it("believes repairs by their probabilities without the hint", async () => {
    const sums = async (name: string, plausibility: string) => {
      const more = ["--identify", "repair", "--samples", "8", "--repair-template", "{prompt}{attempt}{answer}"];
      const [, ...args] = options(at(name));
      const ran = await credit(...args, ...more, "--repair-plausibility", plausibility);
      expect(ran).toMatchObject({ code: 0, stderr: "" });
      const repairs = credited(at(name)).map(({ spent }) => spent?.repair ?? noRepairs);
      const sum = (field: "verified" | "accepted") => repairs.reduce((all, one) => all + one[field], 0);
      return { verified: sum("verified"), accepted: sum("accepted") };
    };
    const [any, sure] = [await sums("any.jsonl", "1e-30"), await sums("sure.jsonl", "1")];
    expect(any.accepted).toBe(any.verified);
    expect(any.verified).toBeGreaterThan(0);
    expect(sure).toEqual({ verified: any.verified, accepted: 0 });
  });

  /** The same computation with the policy's own generator, without HTTP, the command or its files. */
  async function inThisProcess(): Promise<CreditedProblem[]> {
    const tokenizer = await HuggingFaceTokenizer.load(lettersAt);
    const verifier = await loadVerifier(verifierAt);
    const engine: CreditEngine = {
      sampler: (seed) => {
        let index = 0;
        return {
          sample: async (asked) => {
            const written: Completion[] = [];
            for (const { prefix, maxTokens } of asked) {
              const settings = { maxTokens, stop: policy.endTokens, temperature: 1, seed: seed + index++ };
              const [{ tokens, logprobs }] = await policy.generate([prefix], settings);
              written.push({ tokens, logprobs, finished: tokens.length < maxTokens });
            }
            return written;
          },
        };
      },
      ...creditEngineDefaults,
      seed: 4,
      sources: ["search", "repair"],
      repairTemplate: "{prompt}{attempt}",
      maxTokens: 6,
    };
    const config = { tokenizer, steps: { kind: "tokens", count: 2 } } as const;
    const found: CreditedProblem[] = [];
    for (const record of records) found.push(await prepareCredit(parseRecordedProblem(record), config, { verifier, engine })()); // prettier-ignore
    return found;
  }
});

describe("credit against an engine in text", () => {
  const input = at("texts.jsonl");
  const rollout = { text: "x\ny\n=1", reward: 0 };
  const record = (id: string) => JSON.stringify({ id, prompt: `${id}:`, answer: "7", rollouts: [rollout] });
  let url = "";
  /** prompts that get no answer */
  let failing = "none";
  const bodies: Record<string, unknown>[] = [];
  const keys: (string | undefined)[] = [];
  const args = (out: string): string[] => [
    ...[input, "--out", out, "--engine", url, "--model", "m", "--verifier", "exact", "--marker", "="],
    ...["--retries", "0", "--stop", "END"],
  ];

  beforeAll(async () => {
    url = await listening(
      createServer((request, response) => {
        let text = "";
        request.on("data", (chunk: Buffer) => (text += chunk.toString()));
        request.on("end", () => {
          const body = JSON.parse(text) as Record<string, unknown> & { readonly prompt: string };
          bodies.push(body);
          keys.push(request.headers.authorization);
          if (body.prompt.startsWith(failing)) return void response.writeHead(503).end("away");
          const written = body.prompt.endsWith("y\n") ? "=7" : "?";
          const choices = [{ text: written, finish_reason: "stop" }];
          response.end(JSON.stringify({ choices, usage: { completion_tokens: 5 } }));
        });
      }),
    );
    writeFileSync(input, `${["a", "b", "c", "d"].map(record).join("\n")}\n{"id": 5}\n${record("e")}\n`);
  });

  it("sends and reads texts, and counts what the engine says", async () => {
    const out = at("texts-out.jsonl");
    process.env["CREDIT_TEST_KEY"] = "secret";
    expect(await credit(...args(out), "--api-key-env", "CREDIT_TEST_KEY", "--json", at("texts.json"))).toMatchObject({
      code: 0,
      stderr: "",
    });
    expect(bodies).toHaveLength(5);
    expect(bodies.find(({ prompt }) => prompt === "a:x\ny\n")).toMatchObject({
      model: "m",
      max_tokens: 1024,
      stop: ["END"],
    });
    expect(bodies[0]).not.toHaveProperty("return_token_ids");
    expect(new Set(keys)).toEqual(new Set(["Bearer secret"]));
    const [first] = credited(out);
    expect(first).toMatchObject({
      unit: "utf16",
      rollouts: [{ firstError: 2, correction: 0, advantages: [{ start: 5, end: 6, advantage: -1 }] }],
      corrections: [{ source: "search", text: "x\ny\n=7", generated: 5, sharedSteps: 2 }],
      spent: { tokens: 5 },
    });
    expect(JSON.parse(readFileSync(at("texts.json"), "utf8"))).toMatchObject({
      settings: { engine: url, model: "m" },
      skippedLines: 1,
      engine: { tokens: 25, corrections: { search: 5 }, references: { search: 5 }, errors: 0 },
    });
  });

  it("goes on where the engine fails for one record, says why, and asks again", async () => {
    const out = at("failing.jsonl");
    failing = "b:";
    const first = await credit(...args(out));
    expect(first).toMatchObject({ code: 1, stderr: "stepcredit: the engine failed for 1 of 5 problems\n" });
    expect(first.stdout).toContain("failed for 1 problems; --resume asks again");
    expect(credited(out).map(({ id, error }) => [id, error?.includes("503: away")])).toEqual(
      ["a", "b", "c", "d", "e"].map((id) => [id, id === "b" ? true : undefined]),
    );
    const before = readFileSync(out, "utf8");
    expect((await credit(...args(out), "--resume")).code).toBe(1);
    expect(readFileSync(out, "utf8")).toBe(before);
    failing = "none";
    bodies.length = 0;
    expect(await credit(...args(out), "--resume")).toMatchObject({ code: 0, stderr: "" });
    expect(bodies.map(({ prompt }) => prompt)).toEqual(["b:x\ny\n"]);
    expect(readFileSync(out).equals(readFileSync(at("texts-out.jsonl")))).toBe(true);
  });

  it("refuses to write over what was paid for, and to go on with another input", async () => {
    const out = at("texts-out.jsonl");
    expect(await credit(...args(out))).toMatchObject({ code: 2, stderr: `stepcredit: ${out} holds something already; --resume goes on with it` }); // prettier-ignore
    const other = at("other.jsonl");
    writeFileSync(other, `${record("a")}\n${record("z")}\n`);
    const [, ...rest] = args(out);
    expect((await credit(other, ...rest, "--resume")).stderr).toContain(
      'expected the problem "z" in its line 2, received "b"',
    );
    writeFileSync(other, `${record("a")}\n`);
    expect((await credit(other, ...rest, "--resume")).stderr).toContain("it has more problems than the 1 of the input");
    expect(credited(out)).toHaveLength(5);
  });

  it.each([
    [["--model", "m"], "--model: expected --engine too"],
    [["--identify", "repair"], "--identify: expected --engine too"],
    [["--engine", "http://h"], "--engine: expected --model too"],
    [["--engine", "http://h", "--model", "m"], "--engine: expected --verifier too"],
    [["--engine", "h:80", "--model", "m"], "Expected a URL that begins with http:// or https://."],
    [["--identify", "guess"], "Expected some of siblings, search, repair, critique"],
    [["--resume"], "--resume: expected --out"],
    [["--engine", "http://h", "--model", "m", "--verifier", "exact", "--chat"], "--chat: expected --tokenizer too"],
    [["--engine", "http://h", "--model", "m", "--api-key-env", "NO_SUCH_KEY"], "--api-key-env: NO_SUCH_KEY is not set"],
    [["--engine", "http://h", "--model", "m", "--verifier", "exact", "--repair-template", "{attempt}{answer}"], "expected --repair-plausibility above 0 too, as it shows the answer"],
    [["--engine", "http://h", "--model", "m", "--verifier", "exact", "--repair-template", "{attempt}{sibling}"], "expected {sibling} between {#sibling} and {/sibling}"],
    [["--engine", "http://h", "--model", "m", "--verifier", "exact", "--repair-template", "{attempt}{#sibling}{sibling}{/sibling}"], "as it shows a success"],
    [["--engine", "http://h", "--model", "m", "--verifier", "exact", "--repair-plausibility", "0.1"], "--repair-plausibility: expected --tokenizer too"],
    [["--repair-plausibility", "2"], "Expected a number in 0 … 1."],
  ])("refuses %j", async (more, message) => {
    const { code, stderr } = await credit(input, ...more);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  }); // prettier-ignore
});
