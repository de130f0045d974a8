import { describe, expect, it } from "vitest";
import { fill, needs, numbered, shownAnswer } from "../../src/tasks/template.ts";

describe("a template", () => {
  it("has its places filled once, and keeps what is none", () => {
    expect(fill("{prompt} {other} {x", { prompt: "a {prompt} {#sibling}b{/sibling}" })).toBe(
      "a {prompt} {#sibling}b{/sibling} {other} {x",
    );
  });

  it("has a section where its place is filled, and nothing of it where it is not", () => {
    const template = "{prompt}\n{#sibling}Another:\n{sibling}\n{/sibling}{attempt}";
    expect(fill(template, { prompt: "p", attempt: "a", sibling: "s" })).toBe("p\nAnother:\ns\na");
    expect(fill(template, { prompt: "p", attempt: "a" })).toBe("p\na");
    expect([needs(template, "sibling"), needs(`${template}{sibling}`, "sibling")]).toEqual([false, true]);
  });

  it("shows steps by their numbers, and answers as they were written", () => {
    expect(numbered(["a\n", " b"])).toBe("1. a\n2. b");
    expect([shownAnswer("7"), shownAnswer({ tests: [] }), shownAnswer(undefined)]).toEqual(["7", '{"tests":[]}', ""]);
  });
});
