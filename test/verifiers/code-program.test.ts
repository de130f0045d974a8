import { describe, expect, it } from "vitest";
import { programIn } from "../../src/verifiers/code/program.ts";
import { readTests, sameOutput } from "../../src/verifiers/code/tests.ts";

const python = ["python", "py"];
const block = (language: string, code: string) => `\`\`\`${language}\n${code}\n\`\`\`\n`;

describe("the program of a response", () => {
  it("is the last block that names the language, else the last that names none, else the whole text", () => {
    expect(programIn(`${block("python", "a")}then\n${block("Python", "b")}`, python)).toBe("b");
    expect(programIn(`${block("py", "a")}which prints\n${block("", "4")}`, python)).toBe("a");
    expect(programIn(`${block("", "a")}${block("", "b")}${block("bash", "run")}`, python)).toBe("b");
    expect(programIn("a = 1", python)).toBe("a = 1");
    expect(programIn(block("js", "a"), python)).toBeUndefined();
  });

  it("may hold fences of other kinds, and may be cut off", () => {
    expect(programIn("~~~python\na\n```\nb\n~~~", python)).toBe("a\n```\nb");
    expect(programIn("````python\na\n```\nb\n````", python)).toBe("a\n```\nb");
    expect(programIn("```python {.x}\r\na\r\nb", python)).toBe("a\nb");
    expect(programIn("  ```python\n  a\n  ```", python)).toBe("  a");
  });

  it("is found in time in texts of any size", () => {
    for (const line of ["`", "~", "~~~a`", "```a ", "{"]) {
      expect(programIn(`${line.repeat(50_000)}\``, python)?.length ?? 0, line).toBeGreaterThanOrEqual(0);
      expect(programIn(`${line}\n`.repeat(50_000), python)?.length ?? 0, line).toBeGreaterThanOrEqual(0);
    }
  });
});

describe("the tests of a program", () => {
  it.each([
    ["f(2) == 4", "expected answer to be a record with calls or cases"],
    [[], "expected answer to be a record"],
    [{}, "expected answer to be either calls or cases"],
    [{ calls: [{ call: "f()", result: 1 }], cases: [{ output: "" }] }, "either calls or cases"],
    [{ tests: "assert f(2) == 4" }, 'expected answer to be calls or cases, and tolerance, received "tests"'],
    [{ calls: [] }, "expected calls to be a list of at least one, received []"],
    [{ calls: [{ call: "f()" }] }, "expected calls[0].result to be a JSON value, received undefined"],
    [{ calls: [{ call: " ", result: 1 }] }, "expected calls[0].call to be an expression"],
    [{ calls: [{ call: "f()", result: [1, { a: 1e20 }] }] }, "calls[0].result to hold integers below 2^53"],
    [{ calls: [{ call: "f()", result: 1 }], tolerance: -1 }, "expected tolerance to be a number ≥ 0"],
    [{ cases: [{ input: "1" }] }, "expected cases[0].output to be a text, received undefined"],
    [{ cases: [{ input: 1, output: "1" }] }, "expected cases[0].input to be a text, received 1"],
  ])("are refused where they are %j", (answer, message) => {
    expect(() => readTests(answer)).toThrow(message);
  });

  it("compare outputs apart from white space at the ends of lines and of the text", () => {
    expect(sameOutput("1 2\n3", "1 2  \r\n3\n\n")).toBe(true);
    expect(sameOutput("1 2", "1  2")).toBe(false);
    expect(sameOutput("1", " 1")).toBe(false);
  });
});
