import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readProblems } from "../../src/run/problem-file.ts";

let directory = "";
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterEach(() => rmSync(directory, { recursive: true }));

function written(text: string): string {
  const path = join(directory, "problems.jsonl");
  writeFileSync(path, text);
  return path;
}

describe("a file of problems", () => {
  it("is read line by line; a problem without an id is named by its line", async () => {
    const path = written(
      '{"id":"a","prompt":"1+1=","answer":2,"level":1}\n\n{"prompt":"x","answer":"y"}\n{"id":"c","prompt":"x","answer":{"calls":[]}}',
    );
    expect(await readProblems(path)).toEqual([
      { id: "a", prompt: "1+1=", answer: 2 },
      { id: "3", prompt: "x", answer: "y" },
      { id: "c", prompt: "x", answer: { calls: [] } },
    ]);
  });

  it.each([
    ['{"prompt":"x","answer":1}\n{', /problems\.jsonl: line 2: malformed JSON/],
    ["7", /line 1: expected a record, received 7/],
    ['{"answer":1}', /line 1: prompt: expected a text, received undefined/],
    ['{"prompt":"","answer":1}', /line 1: prompt: expected a text, received ""/],
    ['{"prompt":"x"}', /line 1: answer: expected a text, a number or a record, received undefined/],
    ['{"prompt":"x","answer":[1]}', /line 1: answer: expected a text, a number or a record, received \[1\]/],
    ['{"id":{},"prompt":"x","answer":1}', /line 1: id: expected a text or a number, received {}/],
    ["\n", /problems\.jsonl: expected problems, found none/],
  ])("that holds %j is refused", async (text, message) => {
    await expect(readProblems(written(text))).rejects.toThrow(message);
  });

  it("that is not there is refused", async () => {
    await expect(readProblems(join(directory, "nowhere"))).rejects.toThrow(/nowhere: cannot be read: ENOENT/);
    await expect(readProblems(directory)).rejects.toThrow(/cannot be read: EISDIR/);
  });
});
