import { describe, expect, it } from "vitest";
import { readJsonl, type JsonlRow } from "../src/jsonl.ts";

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function rows(text: string | Uint8Array, size = 2 ** 16): Promise<JsonlRow[]> {
  const found: JsonlRow[] = [];
  for await (const row of readJsonl(inPieces(Buffer.from(text), size))) found.push(row);
  return found;
}

describe("readJsonl", () => {
  it("reads the same values however the bytes are cut", async () => {
    const text = '{"a":"é 𝄞"}\n[1,2]\n"x"';
    const whole = await rows(text);
    expect(whole).toEqual([
      { line: 1, value: { a: "é 𝄞" } },
      { line: 2, value: [1, 2] },
      { line: 3, value: "x" },
    ]);
    for (const size of [1, 2, 3, 7]) expect(await rows(text, size)).toEqual(whole);
  });

  it("drops a byte order mark and carriage returns, and counts empty lines", async () => {
    expect(await rows("\uFEFF1\r\n\r\n  \n2\r\n\n")).toEqual([
      { line: 1, value: 1 },
      { line: 4, value: 2 },
    ]);
    expect(await rows("")).toEqual([]);
  });

  it("does not end a line at a line separator inside a string", async () => {
    expect(await rows('"a\u2028b\u0085c"\n')).toEqual([{ line: 1, value: "a\u2028b\u0085c" }]);
  });

  it("says why a line holds no value, and goes on", async () => {
    const found = await rows(
      Buffer.concat([Buffer.from('{"a":\n"'), Buffer.from([0xc3, 0x28]), Buffer.from('"\n\uFEFF1\n3')]),
    );
    expect(found).toEqual([
      { line: 1, malformed: expect.stringMatching(/^malformed JSON: ./) as string },
      { line: 2, malformed: expect.stringMatching(/^not a line of UTF-8 text: ./) as string },
      { line: 3, malformed: expect.stringMatching(/^malformed JSON: ./) as string },
      { line: 4, value: 3 },
    ]);
  });

  it("joins a line of many pieces once", async () => {
    const long = "x".repeat(3_000_000);
    expect(await rows(`"${long}"\n1`, 1000)).toEqual([
      { line: 1, value: long },
      { line: 2, value: 1 },
    ]);
  });
});
