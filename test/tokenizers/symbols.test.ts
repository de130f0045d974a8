import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { HuggingFaceTokenizer } from "../../src/tokenizers/hugging-face.ts";
import { characterTokenizer, wordTokenizer } from "../../src/tokenizers/symbols.ts";

describe("a character tokenizer", () => {
  const tokenizer = characterTokenizer("0123+=🙂 ", ["<end>"]);

  it("gives a character, of however many code units, one id after the special ones", () => {
    expect(tokenizer.vocabulary).toBe(9);
    expect(tokenizer.encode("1+2=3🙂")).toEqual([2, 5, 3, 6, 4, 7]);
    expect(tokenizer.idOf("<end>")).toBe(0);
    expect(tokenizer.idOf("🙂")).toBe(7);
    expect(tokenizer.idOf("9")).toBeUndefined();
  });

  it("gives the text back, special tokens without text", () => {
    expect(tokenizer.decode(tokenizer.encode("1 + 2"))).toBe("1 + 2");
    expect(tokenizer.decode([2, 0])).toBe("1");
  });

  it("names what it does not know", () => {
    expect(() => tokenizer.encode("1+9")).toThrow(
      'characterTokenizer: expected the text to be made of known symbols, received "9" at 2',
    );
    expect(() => tokenizer.decode([9])).toThrow("characterTokenizer: expected ids in 0 … 8, received 9 at index 0");
    expect(() => tokenizer.decode([1.5])).toThrow("received 1.5 at index 0");
    expect(() => characterTokenizer("abca")).toThrow('expected every symbol once, received "a" again');
  });
});

describe("a word tokenizer", () => {
  const tokenizer = wordTokenizer(["so", "it", "is"], ["<s>"]);

  it("cuts at spaces and puts together with them", () => {
    expect(tokenizer.encode("so it is so")).toEqual([1, 2, 3, 1]);
    expect(tokenizer.decode([0, 1, 2, 3])).toBe("so it is");
    expect(tokenizer.encode("")).toEqual([]);
  });

  it("names what it does not know, a special token in a text too", () => {
    expect(() => tokenizer.encode("it  is")).toThrow('received "" at 1');
    expect(() => tokenizer.encode("it <s>")).toThrow('received "<s>" at 1');
    expect(() => wordTokenizer(["a b"])).toThrow('wordTokenizer: expected words without spaces, received "a b"');
  });
});

describe("the description of a symbol tokenizer", () => {
  it.each([
    ["characters", characterTokenizer("10+=🙂 \n", ["<end>"]), ["1+0=1", "🙂 1\n\n 0", ""]],
    ["words", wordTokenizer(["so", "it", "is", "1", "+"], ["<end>"]), ["so it is", "1 + 1", "it"]],
  ])("is a tokenizer.json of the same %s", async (_name, tokenizer, texts) => {
    const directory = mkdtempSync(join(tmpdir(), "stepcredit-"));
    try {
      writeFileSync(join(directory, "tokenizer.json"), JSON.stringify(tokenizer.description));
      const read = await HuggingFaceTokenizer.load(directory);
      expect(read.vocabulary).toBe(tokenizer.vocabulary);
      for (const text of texts) {
        const ids = tokenizer.encode(text);
        expect(read.encode(text)).toEqual(ids);
        expect(read.encode(text, true)).toEqual(ids);
        expect(read.decode([...ids, 0])).toBe(text);
        expect(read.decode(ids)).toBe(text);
      }
      expect(read.idOf("<end>")).toBe(0);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
