import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RunSettings } from "../../src/run/config.ts";
import { install, type Finished, type Installed } from "../support/installed.ts";
import { random } from "../support/random.ts";

let installed: Installed;
let folder = "";
beforeAll(() => {
  installed = install();
  installed.linkAddon();
});
afterAll(() => installed.remove());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stepcredit-"));
  const problems = Array.from({ length: 40 }, (_, i) => ({
    prompt: `${i % 8}+${i >> 3}=`,
    answer: (i % 8) + (i >> 3),
  }));
  writeFileSync(join(folder, "sums.jsonl"), problems.map((problem) => `${JSON.stringify(problem)}\n`).join(""));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Sums of two digits by a fresh policy: a few seconds in all. */
const sums: RunSettings = {
  tokenizer: "characters",
  symbols: "0123456789+=",
  layers: 1,
  hidden: 16,
  heads: 2,
  intermediate: 24,
  maxPositions: 16,
  maxTokens: 4,
  steps: "tokens:1",
  budgetTokens: 30_000,
  problemsPerIteration: 8,
  groupSize: 4,
  rowsPerBatch: 16,
  lr: 0.003,
  evaluationProblems: 8,
  evaluateEvery: 6000,
  checkpointEvery: 7,
  seed: 5,
};

function configured(name: string, settings: RunSettings = {}): string {
  const path = join(folder, `${name}.yaml`);
  const files = { problems: join(folder, "sums.jsonl"), runs: join(folder, "runs") };
  writeFileSync(path, JSON.stringify({ ...sums, ...files, ...settings }));
  return path;
}

const stepcredit = (...args: readonly string[]): Finished => installed.run(args);
const finished = { status: 0, stderr: "" };
const runDirectory = (name: string): string => join(folder, "runs", name);
const besideCheckpoints = (name: string): string[] => readdirSync(join(runDirectory(name), "checkpoints")).sort();
const checkpointsOf = (name: string): string[] => besideCheckpoints(name).filter((file) => /^\d+$/.test(file));

/** All files below a folder with their bytes. */
function bytesBelow(directory: string): Map<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [path.slice(directory.length), readFileSync(path, "base64")] as const;
    }),
  );
}

/** What must not depend on interruptions: the last checkpoint and the policy. */
function outcomeOf(name: string): readonly unknown[] {
  const last = checkpointsOf(name).at(-1) as string;
  return [
    last,
    bytesBelow(join(runDirectory(name), "checkpoints", last)),
    bytesBelow(join(runDirectory(name), "policy")),
    metricsOf(name),
  ];
}

/** Without what a clock has measured. */
function metricsOf(name: string): object[] {
  const lines = readFileSync(join(runDirectory(name), "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  return lines.map((line) => {
    const { seconds, ...rest } = JSON.parse(line) as { readonly seconds?: unknown };
    return { ...rest, timed: seconds !== undefined };
  });
}

const linesOf = (name: string): number => {
  const path = join(runDirectory(name), "metrics.jsonl");
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").length - 1 : 0;
};

/** Goes on with a run, sends a signal as soon as it is time, and gives how the process ended. */
async function signalled(path: string, signal: NodeJS.Signals, isTime: () => boolean): Promise<number | string | null> {
  const args = [join(installed.root, "dist", "cli", "main.js"), "train", path, "--resume"];
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  const ended = new Promise<number | string | null>((resolve) => child.once("exit", (code, by) => resolve(by ?? code)));
  const timer = setInterval(() => {
    if (!isTime()) return;
    clearInterval(timer);
    child.kill(signal);
  }, 5);
  return ended.finally(() => clearInterval(timer));
}

describe("stepcredit train", () => {
  it("ends with the same bytes after ten kills at random moments as without", async () => {
    expect(stepcredit("train", configured("whole"))).toMatchObject(finished);
    const whole = linesOf("whole");
    const path = configured("killed");
    const draw = random(11);
    for (let kill = 0; kill < 10; kill++) {
      // By turns soon after the start, wherever the process is by then, and a little after so much has been done.
      const started = performance.now();
      const goal = Math.floor((0.85 * whole * (kill + 1)) / 10);
      const extra = draw();
      let reached = 0;
      const isTime = (): boolean => {
        const now = performance.now();
        if (kill % 2 === 0) return now - started > 1200 * extra;
        if (reached === 0 && linesOf("killed") >= goal) reached = now;
        return reached > 0 && now - reached > 60 * extra;
      };
      expect(await signalled(path, "SIGKILL", isTime)).toBe("SIGKILL");
    }
    expect(linesOf("killed")).toBeGreaterThan(0.5 * whole);
    expect(stepcredit("train", path, "--resume")).toMatchObject(finished);
    expect(outcomeOf("killed")).toEqual(outcomeOf("whole"));
  });

  it.each([
    ["in f32", { dtype: "f32" }, 4],
    ["in bf16 that follows the policy", { dtype: "bf16", referenceEvery: 10 }, 2],
  ] as const)("goes on against a reference %s to the same bytes", async (_, settings, width) => {
    const near: RunSettings = { ...settings, klCoef: 0.1, klEstimator: "k3", budgetTokens: 12_000, checkpointEvery: 4 };
    expect(stepcredit("train", configured("whole", near))).toMatchObject(finished);
    const whole = linesOf("whole");
    const path = configured("killed", near);
    for (const share of [0.15, 0.4, 0.75]) {
      expect(await signalled(path, "SIGKILL", () => linesOf("killed") >= share * whole)).toBe("SIGKILL");
    }
    expect(stepcredit("train", path, "--resume")).toMatchObject(finished);
    expect(outcomeOf("killed")).toEqual(outcomeOf("whole"));
    const [reference, ...others] = besideCheckpoints("whole").filter((file) => file.startsWith("reference-"));
    expect(others.length).toBeLessThanOrEqual("referenceEvery" in settings ? 3 : 0);
    const directory = join(runDirectory("whole"), "checkpoints");
    const weights = readFileSync(join(runDirectory("whole"), "policy", "model.safetensors")).length;
    const kept = readFileSync(join(directory, reference)).length;
    // Without the headers, which are of a few hundred bytes and a few thousand.
    expect(kept).toBeLessThan((weights * width) / 4);
    expect(kept).toBeGreaterThan((0.5 * weights * width) / 4);
    const distances = (metricsOf("whole") as { update?: { kl: number } }[]).flatMap(({ update }) => update?.kl ?? []);
    expect(Math.max(...distances)).toBeGreaterThan(1e-4);
  });

  it("goes on with a curriculum, with groups drawn again, on problems that a program made, to the same bytes", async () => {
    const chosen: RunSettings = {
      task: "multiplication",
      problems: "",
      tokenizer: "auto",
      steps: "newline",
      maxProblems: 30,
      maxPositions: 32,
      maxTokens: 32,
      curriculum: true,
      resample: true,
      warmStartSteps: 60,
      budgetTokens: 9000,
      checkpointEvery: 2,
      evaluateEvery: 4000,
    };
    expect(stepcredit("train", configured("whole", chosen))).toMatchObject(finished);
    const whole = linesOf("whole");
    const path = configured("killed", chosen);
    for (const share of [0.1, 0.4, 0.7]) {
      expect(await signalled(path, "SIGKILL", () => linesOf("killed") >= share * whole)).toBe("SIGKILL");
    }
    expect(stepcredit("train", path, "--resume")).toMatchObject(finished);
    expect(outcomeOf("killed")).toEqual(outcomeOf("whole"));
    const last = join(runDirectory("whole"), "checkpoints", checkpointsOf("whole").at(-1) as string, "state.json");
    const { train } = JSON.parse(readFileSync(last, "utf8")) as { train: { curriculum: { tries: number[] } } };
    expect(train.curriculum.tries).toHaveLength(30);
    const iterations = (metricsOf("whole") as { readonly resampled?: number }[]).map(({ resampled }) => resampled ?? 0);
    expect(iterations.reduce((sum, count) => sum + count)).toBeGreaterThan(0);
  });

  it("stops at an interrupt with a checkpoint, from which it goes on to the same end", async () => {
    const rare: RunSettings = { checkpointEvery: 1000, evaluateEvery: 1_000_000 };
    const path = configured("interrupted", rare);
    expect(await signalled(path, "SIGINT", () => linesOf("interrupted") >= 8)).toBe(130);
    expect(checkpointsOf("interrupted")).toHaveLength(1);
    expect(existsSync(join(runDirectory("interrupted"), "policy"))).toBe(false);
    expect(stepcredit("train", path, "--resume")).toMatchObject(finished);
    expect(stepcredit("train", configured("whole", rare))).toMatchObject(finished);
    expect(outcomeOf("interrupted")).toEqual(outcomeOf("whole"));
  });

  it("passes over a truncated checkpoint and says so, and learns", () => {
    const path = configured("sums");
    expect(stepcredit("train", path)).toMatchObject(finished);
    const before = outcomeOf("sums");
    const accuracies = metricsOf("sums") as { readonly accuracy?: number }[];
    const right = accuracies.flatMap(({ accuracy }) => (accuracy === undefined ? [] : [accuracy]));
    const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
    expect(mean(right.slice(-5))).toBeGreaterThan(mean(right.slice(0, 5)) + 0.05);
    const newest = join(runDirectory("sums"), "checkpoints", checkpointsOf("sums").at(-1) as string);
    truncateSync(join(newest, "policy", "model.safetensors"), 1000);
    const again = stepcredit("train", path, "--resume");
    expect(again).toMatchObject(finished);
    expect(again.stdout).toMatch(/is passed over: .*model\.safetensors: expected \d+ bytes, received 1000/);
    expect(again.stdout).toContain("goes on from");
    expect(outcomeOf("sums")).toEqual(before);
  });

  it("leaves a run alone that is there, and one that began otherwise", () => {
    const path = configured("taken", { budgetTokens: 1000 });
    expect(stepcredit("train", path)).toMatchObject(finished);
    const before = outcomeOf("taken");
    expect(stepcredit("train", path)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^stepcredit: name: .*taken holds a run already; --resume goes on/) as string,
    });
    expect(stepcredit("train", path, "--resume", "--set", "lr=0.1")).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(
        /^stepcredit: lr: expected 0\.003, with which .* began, received 0\.1\n$/,
      ) as string,
    });
    expect(stepcredit("train", path, "--resume", "--set", "threads=1")).toMatchObject(finished);
    expect(outcomeOf("taken")).toEqual(before);
  });

  it("takes fields by other names, splits by ids, and says what it passes over", () => {
    const rows = Array.from({ length: 40 }, (_, i) => ({
      question: { text: `${i % 8}+${i >> 3}=` },
      target: (i % 8) + (i >> 3),
      key: i === 9 ? 3 : i,
    }));
    const problems = join(folder, "questions.jsonl");
    writeFileSync(problems, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const named: RunSettings = { problems, promptField: "question.text", answerField: "target", idField: "key" };
    const path = configured("named", { ...named, split: 0.7, evaluationProblems: 5, budgetTokens: 1000 });
    const { status, stdout } = stepcredit("train", path);
    expect(status).toBe(0);
    expect(stdout).toMatch(/1 problems of .*questions\.jsonl are passed over: line 10 has the id of line 4/);
    const samples = join(folder, "samples.jsonl");
    expect(stepcredit("eval", path, "--samples", samples)).toMatchObject(finished);
    expect(readFileSync(samples, "utf8").trimEnd().split("\n")).toHaveLength(5);
  });

  it("prints the configuration that a file and settings make", () => {
    const path = configured("printed");
    const { status, stdout } = stepcredit("train", path, "--print-config", "--set", "stop=[a, b]", "--set", "lr=1e-4");
    expect(status).toBe(0);
    expect(stdout).toContain("\nlr: 0.0001\n");
    expect(stdout).toContain("\nname: printed\n");
    expect(stdout).toContain("\nstop:\n  - a\n  - b\n");
    expect(existsSync(runDirectory("printed"))).toBe(false);
    const copy = join(folder, "printed.yaml");
    writeFileSync(copy, stdout);
    expect(stepcredit("train", copy, "--print-config").stdout).toBe(stdout);
  });

  it("refuses what it cannot run, and says why in a line", () => {
    const refused = (settings: RunSettings, ...args: readonly string[]): string => {
      const { status, stderr } = stepcredit("train", configured("refused", settings), ...args);
      expect(status).toBe(2);
      rmSync(runDirectory("refused"), { recursive: true, force: true });
      return stderr;
    };
    expect(refused({}, "--set", "lrr=1")).toMatch(/unknown field lrr \(did you mean lr\?\)/);
    expect(refused({}, "--set", "lr")).toMatch(/Expected key=value/);
    expect(refused({ problems: join(folder, "nowhere") })).toMatch(/nowhere: cannot be read/);
    expect(refused({ evaluationProblems: 40 })).toMatch(
      /evaluationProblems: expected fewer than .* holds, received 40/,
    );
    expect(refused({ maxTokens: 13 })).toMatch(/maxTokens: expected room for it and a prompt .* 16 positions/);
    expect(refused({ chat: true })).toMatch(/chat: expected a tokenizer with a chat template/);
    expect(refused({ split: 1e-9 })).toMatch(/split: expected a share that leaves problems of .*, received 1e-9/);
    expect(refused({ heldOut: join(folder, "sums.jsonl"), evaluationProblems: 50 })).toMatch(
      /heldOut: expected other problems than .* has/,
    );
    expect(refused({ task: "swaps", steps: "newline" })).toMatch(/symbols: expected all that swaps is written in/);
    const swaps: RunSettings = { task: "swaps", tokenizer: "auto" };
    expect(refused(swaps)).toMatch(/maxTokens: expected at least 25 for swaps at level 1, received 4/);
    expect(refused({ ...swaps, maxTokens: 25 })).toMatch(/maxTokens: expected room .* 16 positions, for swaps/);
    const room = { ...swaps, maxTokens: 25, maxPositions: 64 };
    expect(refused({ ...room, evaluationProblems: 400 })).toMatch(/evaluationProblems: expected fewer problems than/);
    expect(refused({ ...room, maxProblems: 400 })).toMatch(/maxProblems: expected no more problems than/);
    expect(refused({ stop: ["10"] })).toMatch(/stop: expected a single token, received "10", which is 2/);
    expect(stepcredit("train", join(folder, "nowhere.yaml")).stderr).toMatch(
      /cannot read .*nowhere\.yaml: no such file/,
    );
  });
});

describe("stepcredit eval", () => {
  it("measures a run's newest checkpoint, or another policy", () => {
    const path = configured("sums", { budgetTokens: 4000 });
    expect(stepcredit("eval", path)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("or --policy") as string,
    });
    expect(stepcredit("train", path)).toMatchObject(finished);
    const [json, samples] = [join(folder, "eval.json"), join(folder, "samples.jsonl")];
    expect(stepcredit("eval", path, "--json", json, "--samples", samples)).toMatchObject(finished);
    const result = JSON.parse(readFileSync(json, "utf8")) as { readonly greedy: number; readonly sampled: number };
    const { curve } = JSON.parse(readFileSync(join(runDirectory("sums"), "result.json"), "utf8")) as {
      readonly curve: readonly (readonly number[])[];
    };
    expect([result.greedy, result.sampled]).toEqual(curve.at(-1)?.slice(1));
    const lines = readFileSync(samples, "utf8").trimEnd().split("\n");
    expect(lines).toHaveLength(8);
    const written = lines.map((line) => JSON.parse(line) as { prompt: string; greedy: { outcome: number } });
    expect(written[0].prompt).toMatch(/^\d\+\d=$/);
    expect(written.filter(({ greedy }) => greedy.outcome === 1).length / 8).toBe(result.greedy);
    const other = stepcredit("eval", path, "--policy", join(runDirectory("sums"), "policy"));
    expect(other.stdout).toContain(`greedy ${result.greedy.toFixed(3)}`);
  });
});

describe("stepcredit report", () => {
  it("draws runs side by side in one page, with what they ended with", () => {
    for (const method of ["iop", "outcome"] as const) {
      expect(stepcredit("train", configured(method, { method, budgetTokens: 4000 }))).toMatchObject(finished);
    }
    const json = join(folder, "report.json");
    const written = stepcredit("report", runDirectory("iop"), runDirectory("outcome"), "--json", json);
    expect(written).toMatchObject({ ...finished, stdout: `${join(runDirectory("iop"), "report.html")}\n` });
    const html = readFileSync(join(runDirectory("iop"), "report.html"), "utf8");
    expect(html).not.toMatch(/<script|<link|https?:|src=|NaN|undefined/);
    expect(html.match(/<polyline/g)).toHaveLength(4);
    const runs = JSON.parse(readFileSync(json, "utf8")) as { name: string; tokens: number; curve: number[][] }[];
    expect(runs.map(({ name }) => name)).toEqual(["iop", "outcome"]);
    for (const { name, tokens, curve } of runs) {
      const result = readFileSync(join(runDirectory(name), "result.json"), "utf8");
      expect(JSON.parse(result)).toMatchObject({ tokens, curve });
      expect(html).toContain(`<td>${tokens.toLocaleString("en")}</td>`);
    }
    expect(stepcredit("report", folder)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("metrics.jsonl") as string,
    });
  });
});

describe("stepcredit init", () => {
  it("writes a configuration that train understands, and overwrites nothing", () => {
    const path = join(folder, "new.yaml");
    expect(stepcredit("init", path, "--set", "groupSize=4")).toMatchObject(finished);
    const text = readFileSync(path, "utf8");
    expect(text).toContain("\ngroupSize: 4\n");
    expect(stepcredit("train", path, "--print-config").stdout).toContain("groupSize: 4\n");
    expect(stepcredit("init", path)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("cannot write") as string,
    });
    expect(readFileSync(path, "utf8")).toBe(text);
  });
});

describe("stepcredit compare", () => {
  it("trains every variant with every seed to the budget, from the same start, and prints a line each", () => {
    const path = configured("compared", { budgetTokens: 3000, evaluateEvery: 2000 });
    const json = join(folder, "compared.json");
    const args = ["outcome", "slow:method=outcome,lr=0.0001", "--seeds", "1,2", "--set", "epochs=1", "--json", json];
    const { status, stderr, stdout } = stepcredit("compare", path, ...args);
    expect({ status, stderr }).toEqual(finished);
    expect(stdout).toMatch(/^outcome .*±.*±.*±/m);
    expect(stdout).toMatch(/^slow .*±/m);
    interface Compared {
      readonly seeds: readonly number[];
      readonly variants: readonly {
        readonly name: string;
        readonly config: RunSettings;
        readonly runs: readonly { readonly seed: number; readonly tokens: number; readonly curve: number[][] }[];
      }[];
    }
    const { seeds, variants } = JSON.parse(readFileSync(json, "utf8")) as Compared;
    expect(seeds).toEqual([1, 2]);
    expect(variants.map(({ name, config }) => [name, config.method, config.lr, config.epochs])).toEqual([
      ["outcome", "outcome", 0.003, 1],
      ["slow", "outcome", 0.0001, 1],
    ]);
    for (const { runs } of variants) {
      expect(runs.map(({ seed }) => seed)).toEqual([1, 2]);
      for (const { tokens, curve } of runs) {
        expect(tokens).toBeGreaterThan(2000);
        expect(tokens).toBeLessThanOrEqual(3000);
        expect(curve.at(-1)?.[0]).toBe(tokens);
      }
    }
    // One seed begins alike, whatever comes then.
    expect(variants[0].runs[0].curve[0]).toEqual(variants[1].runs[0].curve[0]);
  });

  it.each([
    [["nonsense"], "compare: expected nonsense to be one of outcome, positiveOnly, iop"],
    [["a:lr"], 'compare: expected key=value in a:lr, received "lr"'],
    [["a:lrr=1"], "unknown field lrr (did you mean lr?)"],
  ])("refuses the variant %j", (variants, message) => {
    const { status, stderr } = stepcredit("compare", configured("refused"), ...variants);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});
