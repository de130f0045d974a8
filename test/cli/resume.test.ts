import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { continueOutput, forgetRedone } from "../../src/cli/resume.ts";

const scratch = mkdtempSync(join(tmpdir(), "resume-"));
afterAll(() => rmSync(scratch, { recursive: true }));
let files = 0;

/** A file as a call has left it, and what was to take the place of its lines. */
function left(content: string, redone?: string): string {
  const path = join(scratch, `${files++}.jsonl`);
  writeFileSync(path, content);
  if (redone !== undefined) writeFileSync(`${path}.redone`, redone);
  return path;
}

async function opened<T>(path: string, work: (output: Awaited<ReturnType<typeof continueOutput>>) => Promise<T>) {
  const output = await continueOutput(path);
  try {
    return await work(output);
  } finally {
    await output.file.close();
  }
}

const valuesOf = (path: string) =>
  opened(path, async (output) => {
    const values: unknown[] = [];
    for await (const value of output.values()) values.push(value);
    return values;
  });

describe("an output that is gone on with", () => {
  it.each([
    ["", ""],
    ['{"a":1}\n', '{"a":1}\n'],
    ['{"a":1}\n{"b"', '{"a":1}\n'],
    ['{"a":1}\n{"b":2}', '{"a":1}\n'],
    ['{"never ended": ', ""],
    [`1\n"${"x".repeat(200_000)}`, "1\n"],
  ])("keeps its whole lines: %#", async (content, kept) => {
    const path = left(content);
    expect(await opened(path, async ({ length }) => length)).toBe(kept.length);
    expect(readFileSync(path, "utf8")).toBe(kept);
    expect(await valuesOf(path)).toEqual(kept.split("\n").slice(0, -1).map((line) => JSON.parse(line) as unknown)); // prettier-ignore
  });

  it("begins where there is none", async () => {
    const path = join(scratch, "new.jsonl");
    expect(await valuesOf(path)).toEqual([]);
    expect(readFileSync(path, "utf8")).toBe("");
  });

  it("gets what was done again in the places of its lines, and the others stay byte for byte", async () => {
    const path = left('{"é": 1 }\n{"b":2}\n{"c":3}\n');
    await opened(path, async (output) => {
      await output.redo(1, '{"b":"new"}');
      expect(readFileSync(path, "utf8")).toContain('{"b":2}');
      await output.putRedone();
    });
    expect(readFileSync(path, "utf8")).toBe('{"é": 1 }\n{"b":"new"}\n{"c":3}\n');
    expect(existsSync(`${path}.redone`)).toBe(false);
  });

  it("gets what a killed call has done again, but for what it was still writing", async () => {
    const path = left('1\n2\n3\n{"cut', '1 "two"\n2 "thr');
    expect(await valuesOf(path)).toEqual([1, "two", 3]);
    expect(existsSync(`${path}.redone`)).toBe(false);
  });

  it("can be put together twice: a call may be killed between the two files", async () => {
    const path = left('1\n"two"\n', '1 "two"\n');
    expect(await valuesOf(path)).toEqual([1, "two"]);
  });

  it("forgets it where it begins anew", async () => {
    const path = left("1\n", "0 9\n");
    await forgetRedone(path);
    expect(await valuesOf(path)).toEqual([1]);
  });

  it("names a line that is no JSON", async () => {
    const path = left("1\nhello\n");
    await expect(valuesOf(path)).rejects.toThrow(`cannot go on with ${path}: line 2 is no JSON`);
  });
});
