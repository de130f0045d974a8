import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HuggingFaceTokenizer } from "../../src/tokenizers/hugging-face.ts";

let folder = "";
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterAll(() => rmSync(folder, { recursive: true }));

// A byte-level BPE of the letters of "hello", with merges that make "he" and "ll" but no longer word.
const tokenizerJson = {
  version: "1.0",
  added_tokens: [
    { id: 7, content: "<end>", special: true, single_word: false, lstrip: false, rstrip: false, normalized: false },
  ],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "<end>", type_id: 0 } }],
    pair: [{ Sequence: { id: "A", type_id: 0 } }],
    special_tokens: { "<end>": { id: "<end>", ids: [7], tokens: ["<end>"] } },
  },
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    vocab: { h: 0, e: 1, l: 2, o: 3, he: 4, ll: 5, Ġ: 6 },
    merges: ["h e", "l l"],
    unk_token: null,
  },
};

function directory(name: string, files: Readonly<Record<string, unknown>>): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    writeFileSync(join(path, file), typeof content === "string" ? content : JSON.stringify(content));
  }
  return path;
}

describe("the tokenizer of a Hugging Face directory", () => {
  it("merges as its file says, and gives the text back", async () => {
    const tokenizer = await HuggingFaceTokenizer.load(directory("plain", { "tokenizer.json": tokenizerJson }));
    expect(tokenizer.vocabulary).toBe(8);
    expect(tokenizer.encode("hello ello")).toEqual([4, 5, 3, 6, 1, 5, 3]);
    expect(tokenizer.encode("hello", true)).toEqual([4, 5, 3, 7]);
    expect(tokenizer.decode([4, 5, 3, 6, 1, 7])).toBe("hello e");
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.idOf("<end>")).toBe(7);
    expect(() => tokenizer.decode([8])).toThrow("decode: expected ids in 0 … 7, received 8 at index 0");
  });

  it.each([
    [
      "tokenizer_config.json",
      {
        chat_template:
          "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}answer:{% endif %}",
      },
    ],
    [
      "a list of templates",
      {
        chat_template: [
          { name: "tools", template: "no" },
          {
            name: "default",
            template:
              "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}answer:{% endif %}",
          },
        ],
      },
    ],
  ])("writes a conversation by the template of %s", async (name, config) => {
    const path = directory(name, {
      "tokenizer.json": tokenizerJson,
      "tokenizer_config.json": { ...config, eos_token: { content: "<end>", lstrip: false } },
    });
    const tokenizer = await HuggingFaceTokenizer.load(path);
    expect(tokenizer.chat([{ role: "user", content: "hello" }])).toBe("user: hello<end>answer:");
    expect(tokenizer.chat([{ role: "user", content: "hello" }], { addGenerationPrompt: false })).toBe(
      "user: hello<end>",
    );
  });

  it("prefers the template of chat_template.jinja, and says where it looked for one", async () => {
    const both = directory("both", {
      "tokenizer.json": tokenizerJson,
      "tokenizer_config.json": { chat_template: "no" },
      "chat_template.jinja": "{{ messages[0].content }}!{{ mood }}",
    });
    const tokenizer = await HuggingFaceTokenizer.load(both);
    expect(tokenizer.chat([{ role: "user", content: "he" }], { variables: { mood: "?" } })).toBe("he!?");
    const none = await HuggingFaceTokenizer.load(directory("none", { "tokenizer.json": tokenizerJson }));
    expect(none.hasChatTemplate).toBe(false);
    expect(() => none.chat([])).toThrow(
      "expected a chat_template in tokenizer_config.json or chat_template.jinja, found none",
    );
  });

  it("names the file that is missing or wrong", async () => {
    await expect(HuggingFaceTokenizer.load(directory("empty", {}))).rejects.toThrow("tokenizer.json");
    await expect(HuggingFaceTokenizer.load(directory("text", { "tokenizer.json": "{" }))).rejects.toThrow(
      /tokenizer\.json: expected JSON/,
    );
    await expect(
      HuggingFaceTokenizer.load(directory("odd", { "tokenizer.json": { model: { type: "Odd" } } })),
    ).rejects.toThrow(/tokenizer\.json: no tokenizer can be made of it/);
  });
});
