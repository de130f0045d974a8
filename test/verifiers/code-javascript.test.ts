import { describe, expect, it } from "vitest";
import { javascriptVerifier } from "../../src/verifiers/code/javascript.ts";
import { squares, squaresOfLines, verdictOf } from "../support/programs.ts";

const right = "const f = (x) => x * x;\n";

describe("the javascript verifier", () => {
  const verifier = javascriptVerifier("", { seconds: 5 });
  const judge = (solution: string, answer: unknown = squares) => verdictOf(verifier, solution, answer);

  it("rewards a program that passes all tests, and no other", async () => {
    expect(await judge(`Here it is:\n\`\`\`js\n${right}\`\`\`\nDone.`)).toBe(1);
    expect(await judge("function f(x) { return 2 * x }")).toBe(0); // 4, but not 169
    expect(await judge("const f = (x => x")).toBe(0);
    expect(await judge("I do not know.")).toBe(0);
  });

  it("runs programs on their input", async () => {
    expect(await judge("console.log(Number(readline()) ** 2)", squaresOfLines)).toBe(1);
    const read = 'const n = Number(require("fs").readFileSync(0, "utf8")); process.stdout.write(String(n * n));';
    expect(await judge(read, squaresOfLines)).toBe(1);
    expect(await judge("console.log(4)", squaresOfLines)).toBe(0);
    expect(await judge("console.log(Number(readline()) ** 2); throw new Error()", squaresOfLines)).toBe(0);
  });

  it("waits for promises that are kept, and for no other", async () => {
    expect(await judge("const f = async (x) => { await null; return x * x }")).toBe(1);
    expect(await judge("const f = async (x) => { throw x }")).toBe(0);
    expect(await judge("const f = (x) => new Promise(() => {})")).toBe(0);
  });

  it("compares values as JSON, and none that JSON has not", async () => {
    const gives = (value: string, result: unknown) =>
      judge(`const f = () => (${value})`, { calls: [{ call: "f()", result }] });
    expect(await gives("[1, { a: [true, null] }, 2n]", [1, { a: [true, null] }, 2])).toBe(1);
    expect(await gives("NaN", null)).toBe(0);
    expect(await gives("[undefined]", [null])).toBe(0);
    expect(await gives("new Map([[1, 2]])", {})).toBe(0);
    expect(await gives("2n ** 64n", 0)).toBe(0);
    expect(await gives("undefined", null)).toBe(0);
    expect(await gives('JSON.parse("{\\"__proto__\\": {\\"a\\": 1}}")', { a: 1 })).toBe(0);
  });

  it("recurses as deep as programs do", async () => {
    const sum = "const g = (n) => n === 0 ? 0 : 1 + g(n - 1); const f = (x) => g(2000) - 2000 + x * x";
    expect(await judge(sum)).toBe(1);
  });
});

describe("a hostile program in JavaScript", () => {
  const verifier = javascriptVerifier("", { seconds: 1, memory: 64 * 2 ** 20, concurrency: 1 });
  const judge = (program: string, answer: unknown = squares) => verdictOf(verifier, program, answer);

  it.each([
    ["loops for ever", "for (;;);"],
    ["catches the interrupt", "const f = (x) => { for (;;) try { for (;;); } catch {} finally { continue } }"],
    ["makes promises for ever", "const g = () => Promise.resolve().then(g); g(); const f = (x) => 4"],
    ["loops inside the interpreter", "Array.prototype.fill.call({ length: 2 ** 53 - 1 }, 1); const f = (x) => 4"],
    ["makes an expression backtrack", "/(a+)+$/.test('a'.repeat(60) + 'b'); const f = (x) => 4"],
    ["takes memory", "const a = []; for (;;) a.push(new Uint8Array(1e6).fill(1))"],
    ["makes long texts", "let s = 'x'; for (;;) s += s"],
    ["writes without end", "for (;;) console.log('x'.repeat(1e5))"],
    ["recurses", "const f = (x) => f(x) + 1"],
    ["nests brackets", "eval('['.repeat(1e6)); const f = (x) => 4"],
    ["prints answers", "console.log('4\\n169'); console.log(JSON.stringify({ values: ['4', '169'], finished: true }))"],
    ["replaces JSON", "JSON.stringify = () => '4'; const f = (x) => ({})"],
    ["writes its own JSON", "const f = (x) => ({ toJSON: () => 4 })"],
    [
      "pollutes prototypes",
      "Object.prototype.result = 4; Array.prototype.every = () => true; Object.prototype.toJSON = () => 4; const f = (x) => ({})",
    ],
    ["gives an object that is any number", "const f = (x) => ({ valueOf: () => x * x, toString: () => '4' })"],
    [
      "looks for a host",
      "const host = globalThis.constructor.constructor('return process')().mainModule.require('fs'); const f = (x) => 4",
    ],
    ["loads a module", "const f = async (x) => (await import('node:fs')).existsSync('/') ? x * x : 0"],
    ["reads a file", "require('fs').readFileSync('/etc/passwd'); const f = (x) => x * x"],
    ["ends early", "process.exit(0)"],
  ])("gets nothing when it %s", async (_, program) => {
    expect(await judge(program)).toBe(0);
  });

  it("sees nothing of the thread that it runs in", async () => {
    const names = ["Worker", "WebAssembly", "fetch", "setTimeout", "Buffer", "module", "parentPort"];
    const calls = names.map((name) => ({ call: `typeof ${name}`, result: "undefined" }));
    expect(await judge("globalThis.x = 1", { calls })).toBe(1);
    expect(await judge("", { calls: [{ call: "Object.keys(process.env)", result: [] }] })).toBe(0);
    expect(await judge("0", { calls: [{ call: "Object.keys(process.env)", result: [] }] })).toBe(1);
  });

  it("leaves nothing to the next one, which runs", async () => {
    expect(await judge("globalThis.f = (x) => x * x; Object.prototype.f = f; throw 1")).toBe(0);
    expect(await judge("const g = 1")).toBe(0);
    expect(await judge(right)).toBe(1);
  });

  it("does not hold up this thread", async () => {
    let turns = 0;
    const counting = setInterval(() => turns++, 5);
    expect(await judge("for (;;);")).toBe(0);
    clearInterval(counting);
    expect(turns).toBeGreaterThan(1);
  });
});
