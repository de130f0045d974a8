import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readProblems, splitProblems } from "../../src/run/problem-file.ts";
import { placeOf } from "../../src/run/problem-sample.ts";

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
      '{"id":"a","prompt":"1+1=","answer":2,"level":1}\n\n{"prompt":"x","answer":"y"}\n{"id":"c","prompt":"z","answer":{"calls":[]}}',
    );
    expect(await readProblems(path)).toEqual({
      problems: [
        { id: "a", prompt: "1+1=", answer: 2 },
        { id: "3", prompt: "x", answer: "y" },
        { id: "c", prompt: "z", answer: { calls: [] } },
      ],
      leftOut: 0,
      duplicates: 0,
      firstDuplicate: undefined,
    });
  });

  it("may name its fields otherwise, also inside others", async () => {
    const row = { key: { n: [7, 8] }, question: { text: "1+1=" }, "a.b": 2, a: { b: 3 } };
    const path = written(JSON.stringify(row));
    const fields = { prompt: "question.text", answer: "a.b", id: "key.n.1" };
    expect((await readProblems(path, { fields })).problems).toEqual([{ id: "8", prompt: "1+1=", answer: 2 }]);
    for (const [field, name] of [
      ["prompt", "question.txt"],
      ["answer", "key.n.2"],
      ["id", "question.id"],
      ["prompt", "constructor.name"],
    ] as const) {
      await expect(readProblems(path, { fields: { ...fields, [field]: name } })).rejects.toThrow(
        `line 1: ${name}: expected a text`,
      );
    }
  });

  it("is read without ids and prompts that it has already, and without what does not fit", async () => {
    const rows = ["a one", "b two", "a three", "c long", "d two", "e four"].map((row) => row.split(" "));
    const path = written(rows.map(([id, prompt]) => `${JSON.stringify({ id, prompt, answer: 1 })}\n`).join(""));
    const read = await readProblems(path, { fits: ({ prompt }) => prompt !== "long" });
    expect(read.problems.map(({ id }) => id)).toEqual(["a", "b", "e"]);
    expect(read).toMatchObject({ leftOut: 1, duplicates: 2, firstDuplicate: "line 3 has the id of line 1" });
    const two = await readProblems(path, { first: 2 });
    expect(two.problems.map(({ id }) => id)).toEqual(["a", "b"]);
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

describe("a sample of a file", () => {
  const idsOf = async (ids: readonly number[], options: { most?: number; seed?: number }) => {
    const lines = ids.map((id) => `${JSON.stringify({ id, prompt: `p${id}`, answer: id })}\n`);
    const { problems } = await readProblems(written(lines.join("")), options);
    return problems.map(({ id }) => Number(id));
  };
  const all = Array.from({ length: 500 }, (_, i) => i);

  it("is so many problems in their order, which ones decided by their ids and the seed, not by their order", async () => {
    const kept = await idsOf(all, { most: 40 });
    expect(kept).toHaveLength(40);
    expect(kept).toEqual([...kept].sort((a, b) => a - b));
    // All parts of the file are in it.
    expect(kept[5]).toBeLessThan(250);
    expect(kept[34]).toBeGreaterThan(250);
    expect(await idsOf(all.toReversed(), { most: 40 })).toEqual(kept.toReversed());
    expect(await idsOf(all, { most: 40, seed: 1 })).not.toEqual(kept);
    expect(await idsOf(all, { most: 500 })).toEqual(all);
  });

  it("finds a second problem with the id of one that it keeps, however much lies between", async () => {
    const kept = await idsOf(all, { most: 3 });
    expect(await idsOf([...all, ...all, ...all], { most: 3 })).toEqual(kept);
  });
});

describe("a split by ids", () => {
  const problems = Array.from({ length: 2000 }, (_, i) => ({ id: `p${i}`, prompt: `${i}`, answer: i }));
  const trained = (count: number, share: number, seed = 0) =>
    splitProblems(problems.slice(0, count), share, seed).training.map(({ id }) => id);

  it("puts about its share on one side, all others on the other", () => {
    const { training, heldOut } = splitProblems(problems, 0.9, 0);
    expect(training.length / problems.length).toBeCloseTo(0.9, 1);
    expect([...training, ...heldOut].map(({ id }) => id).sort()).toEqual(problems.map(({ id }) => id).sort());
  });

  it("leaves every problem on its side when more are added, and when the share grows", () => {
    const before = trained(1000, 0.8);
    expect(trained(2000, 0.8).slice(0, before.length)).toEqual(before);
    const more = new Set(trained(1000, 0.9));
    expect(before.filter((id) => !more.has(id))).toEqual([]);
    expect(trained(1000, 0.8, 1)).not.toEqual(before);
  });

  it("has nothing to do with the sample that is kept", () => {
    const kept = problems.filter(({ id }) => placeOf("sample", 0, id) < 0.2);
    expect(splitProblems(kept, 0.5, 0).training.length / kept.length).toBeCloseTo(0.5, 1);
  });
});
