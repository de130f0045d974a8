import { describe, expect, it } from "vitest";
import { sentences, textSegmenter } from "../../src/trajectory/index.ts";
import { random } from "../support/random.ts";

const cut = (text: string): string[] => sentences(text).map(({ start, end }) => text.slice(start, end));

describe("sentences", () => {
  it.each([
    ["One. Two! Three? Four", ["One. ", "Two! ", "Three? ", "Four"]],
    ["It is 3.14 or 2.5. So be it.", ["It is 3.14 or 2.5. ", "So be it."]],
    ['He said "no." Then (yes.) So.', ['He said "no." ', "Then (yes.) ", "So."]],
    ["a line\nanother\n\nthird", ["a line\n", "another\n\n", "third"]],
    ["See e.g. Fig. 3 by Dr. A. Smith. Done.", ["See e.g. Fig. 3 by Dr. A. Smith. ", "Done."]],
    ["1. Add them.\n2. Halve it. 3 is left.", ["1. Add them.\n", "2. Halve it. ", "3 is left."]],
    ["Let $x = 1. y$ be. Then $$a. b$$ ends.", ["Let $x = 1. y$ be. ", "Then $$a. b$$ ends."]],
    ["It costs $5. Then $6 more.", ["It costs $5. ", "Then $6 more."]],
    ["So \\(a. b\\) and \\[c.\n\nd\\] hold. Next.", ["So \\(a. b\\) and \\[c.\n\nd\\] hold. ", "Next."]],
    ["\\begin{align*}x. y\n\\end{align*}\nAfter.", ["\\begin{align*}x. y\n\\end{align*}\n", "After."]],
    ["```js\nf(); // a. b\ng();\n```\nRuns. Ok", ["```js\nf(); // a. b\ng();\n```\n", "Runs. ", "Ok"]],
    ["```\nnever closed. really", ["```\nnever closed. really"]],
    ["use `a. b` here. ` alone. End", ["use `a. b` here. ", "` alone. ", "End"]],
    ["open $x. never closed", ["open $x. ", "never closed"]],
    ["第一。第二！Third", ["第一。", "第二！", "Third"]],
    ["vitamin C. It helps", ["vitamin C. It helps"]],
    ["wait... what?! ok", ["wait... ", "what?! ", "ok"]],
    ["\n\n", ["\n\n"]],
    ["", []],
  ])("of %j", (text, expected) => {
    expect(cut(text)).toEqual(expected);
  });

  it("hold every character once, whatever the text", () => {
    const next = random(4);
    const alphabet = [...Array.from("ab1 .!?\n$`\\()[]{}é😀。"), "```", "\\begin{a}", "\\end{a}", "e.g", "$$"];
    for (let round = 0; round < 500; round++) {
      const text = Array.from({ length: 30 }, () => alphabet[Math.floor(next() * alphabet.length)]).join("");
      expect(cut(text).join("")).toBe(text);
      expect(cut(text)).not.toContain("");
    }
  });

  it("are found in time that grows with the text", () => {
    for (const piece of ["$", "`", "\\(", "\\begin{a}", "a. ", "$a ", "((("]) {
      expect(cut(piece.repeat(20_000)).join("")).toHaveLength(20_000 * piece.length);
    }
  });
});

describe("steps by the text of the tokens", () => {
  const bytes = (text: string) => [...Buffer.from(text)];
  const decode = (tokens: readonly number[]) => Buffer.from(tokens).toString();
  const segment = textSegmenter(sentences, decode);
  const steps = (text: string) => segment(bytes(text)).map(({ start, end }) => decode(bytes(text).slice(start, end)));

  it("are the sentences where every token has a text of its own", () => {
    expect(steps("One. Two.\nThree")).toEqual(["One. ", "Two.\n", "Three"]);
    expect(segment([])).toEqual([]);
  });

  it("keep the bytes of a character together", () => {
    expect(steps("Ça va. Très bien. Ok")).toEqual(["Ça va. ", "Très bien. ", "Ok"]);
  });
});
