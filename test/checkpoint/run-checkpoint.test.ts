import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  newestCheckpoint,
  policyDirectory,
  writeCheckpoint,
  type RunState,
} from "../../src/checkpoint/run-checkpoint.ts";

let root = "";
beforeEach(() => (root = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterEach(() => rmSync(root, { recursive: true }));

const stateAt = (iteration: number, score?: number): RunState => ({
  train: {
    iteration,
    tokens: 100 * iteration,
    drawn: 32 * iteration,
    problems: 4_000_000_000,
    shuffle: 7,
    gate: { iterations: 0, repair: 0, fresh: 0 },
    answered: 3,
    optimizer: { steps: 2 * iteration, m: Float32Array.of(iteration, 0.1), v: Float32Array.of(1e-30, 2) },
  },
  metricsLines: 10 * iteration,
  extra: { evaluatedAt: 5 },
  score,
});

const save = (text: string) => (directory: string) => writeFile(join(directory, "weights"), text);
const names = () => readdirSync(root).sort();
const silent = (directory: string, reason: string): never => expect.fail(`${directory}: ${reason}`);

describe("checkpoints of a run", () => {
  it("the newest gives back what was written", async () => {
    await writeCheckpoint(root, stateAt(1), 3, save("one"));
    const directory = await writeCheckpoint(root, stateAt(2, 0.5), 3, save("two"));
    const found = await newestCheckpoint(root, silent);
    expect(found).toEqual({ directory, state: stateAt(2, 0.5) });
    expect(await readFile(join(policyDirectory(directory), "weights"), "utf8")).toBe("two");
    expect(await newestCheckpoint(join(root, "nowhere"), silent)).toBeUndefined();
  });

  it("holds what a replay has kept, and its optimizer", async () => {
    const state = stateAt(1);
    const replay = {
      entries: [{ problem: { id: "a", prompt: [1, 2], answer: 3, text: "1+2" }, failed: [4], success: [5, 6] }],
      added: 7,
      random: 4_000_000_000,
      optimizer: { steps: 5, m: Float32Array.of(0.25, 1e-30), v: Float32Array.of(3, 4) },
    };
    const withReplay = { ...state, train: { ...state.train, replay } };
    await writeCheckpoint(root, withReplay, 3, save("one"));
    expect((await newestCheckpoint(root, silent))?.state).toEqual(withReplay);
  });

  it.each([
    ["f32", Float32Array.of(0.25, 1e-30, -3)],
    ["bf16", { dtype: "bf16", data: Uint16Array.of(0x3f80, 0x8000, 1) }],
    ["f16", { dtype: "f16", data: Uint16Array.of(0x3c00, 0x8000, 1) }],
  ] as const)(
    "name a reference in %s that is written once, and gone with the last that names it",
    async (_, weights) => {
      const since = (iteration: number, of: number): RunState => {
        const state = stateAt(iteration);
        return { ...state, train: { ...state.train, reference: { since: of, weights } } };
      };
      await writeCheckpoint(root, since(1, 0), 2, save("one"));
      expect((await newestCheckpoint(root, silent))?.state).toEqual(since(1, 0));
      const [path, then] = [join(root, "reference-000000.safetensors"), new Date(1e12)];
      utimesSync(path, then, then);
      await writeCheckpoint(root, since(2, 0), 2, save("two"));
      expect(statSync(path).mtime).toEqual(then);
      await writeCheckpoint(root, since(3, 3), 2, save("three"));
      expect(names()).toEqual(["000002", "000003", "reference-000000.safetensors", "reference-000003.safetensors"]);
      expect((await newestCheckpoint(root, silent))?.state).toEqual(since(3, 3));
      await writeCheckpoint(root, since(4, 3), 2, save("four"));
      expect(names()).toEqual(["000003", "000004", "reference-000003.safetensors"]);
    },
  );

  it("are passed over where their reference is damaged, which the next one writes anew", async () => {
    const reference = { since: 0, weights: Float32Array.of(1, 2, 3) };
    const state = (iteration: number): RunState => ({
      ...stateAt(iteration),
      train: { ...stateAt(iteration).train, reference },
    });
    await writeCheckpoint(root, state(1), 3, save("one"));
    const path = join(root, "reference-000000.safetensors");
    for (const damage of [() => truncateSync(path, 20), () => rmSync(path)]) {
      damage();
      const heard: string[] = [];
      expect(await newestCheckpoint(root, (_, reason) => heard.push(reason))).toBeUndefined();
      expect(heard).toEqual([expect.stringContaining("reference-000000.safetensors") as string]);
      await writeCheckpoint(root, state(1), 3, save("one"));
      expect((await newestCheckpoint(root, silent))?.state).toEqual(state(1));
    }
  });

  it("keeps the newest and the best", async () => {
    const scores = [0.1, 0.7, 0.3, undefined, 0.2, 0.6];
    for (const [i, score] of scores.entries()) await writeCheckpoint(root, stateAt(i + 1, score), 2, save(""));
    expect(names()).toEqual(["000002", "000005", "000006"]);
  });

  it("leaves nothing of one that could not be written, and the older ones as they were", async () => {
    const directory = await writeCheckpoint(root, stateAt(1), 3, save("one"));
    const full = () => Promise.reject(new Error("no space left"));
    await expect(writeCheckpoint(root, stateAt(2), 3, full)).rejects.toThrow("no space left");
    expect((await newestCheckpoint(root, silent))?.directory).toBe(directory);
    await writeCheckpoint(root, stateAt(2), 3, save("two"));
    expect(names()).toEqual(["000001", "000002"]);
  });

  it.each([
    [
      "a truncated policy",
      (at: string) => truncateSync(join(policyDirectory(at), "weights"), 1),
      /weights: expected 3 bytes, received 1/,
    ],
    [
      "a changed policy",
      (at: string) => writeFileSync(join(policyDirectory(at), "weights"), "twx"),
      /weights: its checksum/,
    ],
    [
      "truncated moments",
      (at: string) => truncateSync(join(at, "optimizer.safetensors"), 40),
      /optimizer.safetensors: expected \d+ bytes, received 40/,
    ],
    ["a missing file", (at: string) => rmSync(join(at, "optimizer.safetensors")), /optimizer.safetensors/],
    [
      "a truncated state",
      (at: string) => truncateSync(join(at, "state.json"), 30),
      /state.json: expected the state of a run/,
    ],
    [
      "a state with more behind it",
      (at: string) => appendFileSync(join(at, "state.json"), "}"),
      /state.json: expected the state of a run/,
    ],
    [
      "a state of another version",
      (at: string) => writeFileSync(join(at, "state.json"), '{"version": 9}'),
      /expected version 1, received 9/,
    ],
  ])("takes the one before %s, and says why", async (_name, damage, reason) => {
    const good = await writeCheckpoint(root, stateAt(1), 3, save("one"));
    const bad = await writeCheckpoint(root, stateAt(2), 3, save("two"));
    damage(bad);
    const heard: string[] = [];
    const found = await newestCheckpoint(root, (directory, why) => heard.push(`${directory}: ${why}`));
    expect(found).toEqual({ directory: good, state: stateAt(1) });
    expect(heard).toHaveLength(1);
    expect(heard[0]).toMatch(reason);
    expect(heard[0].startsWith(bad)).toBe(true);
  });

  it("takes no unfinished one", async () => {
    const directory = await writeCheckpoint(root, stateAt(1), 3, save("one"));
    cpSync(directory, join(root, "000002.unfinished"), { recursive: true });
    expect((await newestCheckpoint(root, silent))?.directory).toBe(directory);
  });
});
