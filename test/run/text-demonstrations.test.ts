import { describe, expect, it } from "vitest";
import { critiqueExamples, type Demonstrator } from "../../src/run/text-demonstrations.ts";
import { proceduralTasks } from "../../src/tasks/procedural/index.ts";
import { numbered } from "../../src/tasks/template.ts";
import { textTask } from "../../src/tasks/text.ts";
import { characterTokenizer } from "../../src/tokenizers/symbols.ts";
import { tokenLines } from "../../src/trajectory/index.ts";
import { random } from "../support/random.ts";

const made = proceduralTasks.arithmetic;
const tokenizer = characterTokenizer(`${made.alphabet}. ?`, ["<end>"]);
const end = 0;
const task = textTask({
  problems: (draws) => made.problem(draws, 1),
  tokenizer,
  critique: { prompt: ({ prompt }, steps) => tokenizer.encode(`${prompt}${numbered(steps)}?`), maxTokens: 4 },
  verifier: made.verifier,
  segment: tokenLines((token) => tokenizer.decode([token])),
  maxTokens: 60,
  stop: [end],
  seed: 1,
});
const by: Demonstrator = {
  made,
  task,
  tokenizer,
  written: (text) => text,
  noise: 0.3,
  positions: 100,
  draw: (draws) => made.problem(draws, 1),
};

describe("examples of critiques", () => {
  it("show a failed solution, its steps numbered, and name the first wrong one", () => {
    const examples = critiqueExamples(by, 60, random(1));
    const right = examples.filter(({ tokens, from }) => {
      const [, prompt, steps] = /^(.*:)(1\. .*)\?$/s.exec(tokenizer.decode(tokens.slice(0, from))) ?? [];
      const solution = steps.replaceAll(/^\d+\. /gm, "");
      expect(tokens.at(-1)).toBe(end);
      const named = Number(tokenizer.decode(tokens.slice(from))) - 1;
      return made.firstWrongStep({ id: "", prompt, answer: "" }, solution) === named;
    });
    // Two slips can cancel, so that what passed is wrong itself.
    expect(right.length / examples.length).toBeGreaterThan(0.9);
    expect(examples).toHaveLength(60);
  });

  it("are none where every demonstration passes", () => {
    expect(() => critiqueExamples({ ...by, noise: 0 }, 3, random(1))).toThrow(
      /^warmStartCritiques: expected 3 problems with one demonstration that passes .*, found 0 in 600$/,
    );
  });
});
