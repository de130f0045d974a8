import { describe, expect, it } from "vitest";
import { completionOf, createTree, graft, path, type Tree } from "../../src/trajectory/index.ts";
import { dedent, draw, drawing } from "../support/draw.ts";
import { random } from "../support/random.ts";
import { randomTree } from "../support/trees.ts";

const group = (): Tree => createTree({ id: "p", prompt: [1, 2] });

describe("graft", () => {
  it("a shared prefix is the same nodes, and equal solutions are two leaves at one node", () => {
    const tree = group();
    graft(tree, 0, [[3], [4]], { source: "rollout" });
    graft(tree, 0, [[3], [5, 6]], { source: "rollout" });
    graft(tree, 0, [[3], [4]], { source: "rollout" });
    graft(tree, 0, [[3]], { source: "rollout" });
    graft(tree, 1, [[4], [7]], { source: "search", corrects: 1, outcome: 1 });
    expect(drawing(tree)).toBe(
      dedent(`
        1 2
          3 → #3 …
            4 → #0 …, #2 …
              7 → #4 1 search of 1
            5 6 → #1 …
      `),
    );
  });

  it("steps that agree halfway stay apart", () => {
    const tree = group();
    graft(tree, 0, [[3, 4]], { source: "rollout" });
    graft(tree, 0, [[3, 5]], { source: "rollout" });
    graft(tree, 0, [[3], [4]], { source: "rollout" });
    expect(tree.steps[0].children).toHaveLength(3);
  });

  it("an empty solution ends at the root", () => {
    const tree = group();
    expect(completionOf(tree, graft(tree, 0, [], { source: "rollout" }))).toEqual([]);
    expect(tree.leaves[0].step).toBe(0);
  });

  it("keeps its own copy of the tokens", () => {
    const tree = group();
    const step = [3];
    graft(tree, 0, [step], { source: "rollout" });
    step[0] = 9;
    expect(completionOf(tree, 0)).toEqual([3]);
  });

  it("adds nothing where an argument is wrong", () => {
    const tree = group();
    expect(() => graft(tree, 1, [[3]], { source: "rollout" })).toThrow("graft: expected a node below 1, received 1");
    expect(() => graft(tree, 0, [[3], []], { source: "rollout" })).toThrow("received an empty step");
    expect(() => graft(tree, 0, [[3], [-1]], { source: "rollout" })).toThrow("integers in 0 … 2³¹ − 1, received -1");
    expect(() => graft(tree, 0, [[3]], { source: "repair", corrects: 0 })).toThrow(
      "expected corrects to be −1 or a leaf",
    );
    expect(drawing(tree)).toBe("1 2");
    expect(() => createTree({ id: "p", prompt: [0.5] })).toThrow("createTree: expected prompt of token ids");
  });
});

describe("a tree", () => {
  it("has parents before children, and paths without the root", () => {
    const next = random(1);
    for (let round = 0; round < 50; round++) {
      const tree = randomTree(next);
      tree.steps.forEach(({ parent, children }, node) => {
        expect(parent).toBeLessThan(node);
        children.forEach((child) => expect(tree.steps[child].parent).toBe(node));
        expect(path(tree, node)).toEqual(node === 0 ? [] : [...path(tree, parent), node]);
      });
    }
  });

  it("is what its drawing says", () => {
    const next = random(2);
    for (let round = 0; round < 50; round++) {
      const text = drawing(randomTree(next));
      expect(drawing(draw(text))).toBe(text);
    }
  });
});
