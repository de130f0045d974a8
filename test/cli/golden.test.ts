import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommanderError } from "commander";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { goldenCommand } from "../../src/cli/golden.ts";

const good = join(import.meta.dirname, "..", "golden");
const scratch = mkdtempSync(join(tmpdir(), "golden-cli-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const lines: string[] = [];
beforeEach(() => {
  lines.length = 0;
  vi.spyOn(console, "log").mockImplementation((line: string) => void lines.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

/** The exit code of `stepcredit golden …`. */
async function run(...args: readonly string[]): Promise<number> {
  const command = goldenCommand()
    .exitOverride()
    .configureOutput({ writeErr: (text) => void lines.push(text.trim()) });
  try {
    await command.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
  return Number(process.exitCode);
}

describe("stepcredit golden", () => {
  it("exits 0 and ends with the totals where every vector passes", async () => {
    expect(await run(good)).toBe(0);
    expect(lines).toEqual([expect.stringMatching(/^\d+ passed, 0 failed, 0 unsupported$/)]);
  });

  it("exits 1, names the vector and writes the failures where one fails", async () => {
    const vector = JSON.parse(readFileSync(join(good, "kl_verl_k3.json"), "utf8")) as Record<string, unknown>;
    writeFileSync(join(scratch, "broken.json"), "{");
    writeFileSync(join(scratch, "unknown.json"), JSON.stringify({ ...vector, op: "tea_leaves" }));
    const json = join(scratch, "..", `golden-cli-${process.pid}.json`);
    expect(await run(scratch, "--json", json)).toBe(1);
    const report = JSON.parse(readFileSync(json, "utf8")) as unknown;
    rmSync(json);
    expect(lines.join("\n")).toMatch(
      /FAILED broken\.json: [^]*unsupported:\n +1 {2}tea_leaves\n0 passed, 1 failed, 1 unsupported$/,
    );
    expect(report).toMatchObject({
      passed: 0,
      failed: 1,
      unsupported: 1,
      failures: [{ name: "broken.json", key: "file" }],
    });
  });

  it("exits 2 for a directory that is not there or holds no vector", async () => {
    expect(await run(join(scratch, "nowhere"))).toBe(2);
    expect(lines.join()).toMatch(/cannot read .*nowhere/);
    expect(await run(join(good, ".."))).toBe(2);
    expect(lines.join()).toMatch(/holds no \*\.json/);
  });
});
