import { describe, expect, it } from "vitest";
import { proceduralTasks } from "../../../src/tasks/procedural/index.ts";
import type { TextProblem } from "../../../src/tasks/text.ts";

const never = (): number => expect.fail("nothing is left to chance");
const given = (prompt: string, answer: string): TextProblem => ({ id: prompt, prompt, answer });

/** `lines` in one text with a slash between them. */
function judged(name: keyof typeof proceduralTasks, problem: TextProblem, lines: string): readonly [number, number] {
  const solution = lines.replaceAll(" / ", "\n");
  const { firstWrongStep, verifier } = proceduralTasks[name];
  return [firstWrongStep(problem, solution), verifier.verify(solution, problem.answer)];
}

describe("a chain of arithmetic", () => {
  const problem = given("17;+5;*3;-70:", "-4");

  it.each([
    ["17+5=22 / 22*3=66 / 66-70=-4", -1, 1],
    ["17+5=22 / 22*3=066 / 66-70=-4", -1, 1],
    ["17+5=12 / 12*3=36 / 36-70=-34", 0, 0],
    ["17+5=22 / 22*3=67 / 66-70=-4", 1, 1],
    ["17+5=22 / 66-70=-4", 1, 1],
    ["17+5=22 / 3*22=66 / 66-70=-4", 1, 1],
    ["17+5=22 / 22*3=66 / 66-70=4", 2, 0],
  ])("of %s", (lines, wrong, outcome) => {
    expect(judged("arithmetic", problem, lines)).toEqual([wrong, outcome]);
  });

  it("is slipped in by forgetting the lowest carry or borrow", () => {
    // 17 + 5 without its carry; 12 · 3 has none; 36 − 70 = −(70 − 36), with a borrow forgotten.
    expect(proceduralTasks.arithmetic.demonstrate(problem, () => 0, 1)).toBe("17+5=12\n12*3=36\n36-70=-44");
  });
});

describe("long multiplication", () => {
  const problem = given("47*206:", "9682");

  it.each([
    ["47*6=282 / 47*200=9400 / 282+9400=9682", -1, 1],
    ["200*47=9400 / 47*6=282 / 282+9400=9682", -1, 1],
    ["47*6=282 / 47*0=0 / 47*200=9400 / 282+9400=9682", 1, 1],
    ["47*6=282 / 47*6=282 / 282+282=564", 1, 0],
    ["47*6=282 / 282+282=564", 1, 0],
    ["47*6=282 / 47*200=9400 / 282+9400=9692", 2, 0],
    ["47*206=9682", 0, 1],
  ])("of %s", (lines, wrong, outcome) => {
    expect(judged("multiplication", problem, lines)).toEqual([wrong, outcome]);
  });

  it("lets sums begin before all products are there", () => {
    const lines = "12*1=12 / 12*20=240 / 240+12=252 / 12*300=3600 / 3600+252=3852";
    expect(judged("multiplication", given("12*321:", "3852"), lines)).toEqual([-1, 1]);
  });

  it("is exact beyond 2⁵³", () => {
    const product = String(987654321987n * 3n);
    expect(judged("multiplication", given("987654321987*3:", product), `987654321987*3=${product}`)).toEqual([-1, 1]);
    const large = "9".repeat(40);
    const problem = given(`${large}*1:`, large);
    expect(judged("multiplication", problem, `${large}*1=${large}`)).toEqual([-1, 1]);
    expect(judged("multiplication", problem, `${large}*1=${large.slice(0, -1)}8`)).toEqual([0, 0]);
  });

  it("is slipped in by forgetting the lowest carry", () => {
    // 47 · 6 = 42 + 240 loses the 4 of 42; 47 · 200 loses the 1 of 14; 242 + 8400 has no carry.
    expect(proceduralTasks.multiplication.demonstrate(problem, () => 0, 1)).toBe(
      "47*6=242\n47*200=8400\n242+8400=8642",
    );
  });
});

describe("countdown", () => {
  const problem = given("3,25,8=83:", "3*25+8");

  it.each([
    ["3*25=75 / 75+8=83 / 83=3*25+8", -1, 1],
    ["25*3=75 / 8+75=83 / 83=8+(25*3)", -1, 1],
    ["25*3=65 / 65+8=73 / 83=3*25+8", 0, 1],
    ["3*25=75 / 75+8=83 / 83=3*25+9", 2, 0],
    ["3*25=75 / 75-8=67 / 83=75+8", 2, 0],
    ["3*25=75 / 75+8=83 / 84=3*25+8", 2, 0],
    ["3+3=6 / 25+8=33 / 33+6=39", 0, 0],
    ["83=3*25+8", 0, 1],
    ["3*25=75 / 75+8=83 / 83=83", 2, 0],
    ["3*25=75 / 75+8=83", 2, 0],
  ])("of %s", (lines, wrong, outcome) => {
    expect(judged("countdown", problem, lines)).toEqual([wrong, outcome]);
  });

  it("takes another solution than the known one, negative numbers between, and only divisions without remainder", () => {
    const other = given("2,6,4=8:", "6*4/(2+1)");
    expect(judged("countdown", given("2,6,4=8:", "2+6*4-18"), "2*6=12 / 12-4=8 / 8=2*6-4")[0]).toBe(-1);
    expect(judged("countdown", given("2,6,4=8:", "2*6-4"), "2-6=-4 / 4--4=8 / 8=4-(2-6)")).toEqual([-1, 1]);
    expect(judged("countdown", given("3,2,2=3:", "3*2/2"), "3/2=1 / 1*2=2 / 3=3/2*2")).toEqual([0, 0]);
    // The answer's own numbers are those that a solution must have.
    expect(judged("countdown", other, "2*6=12 / 12-4=8 / 8=2*6-4")).toEqual([-1, 0]);
  });

  it("is slipped in by a wrong sign with the right one's result", () => {
    expect(proceduralTasks.countdown.demonstrate(problem, () => 0, 1)).toBe("3+25=75\n75-8=83\n83=3+25-8");
    const lines = "3+25=75 / 75-8=83 / 83=3+25-8";
    expect(judged("countdown", problem, lines)).toEqual([0, 0]);
  });

  it("reads no expression that is endless, too deep, or not one", () => {
    const end = (expression: string) => judged("countdown", problem, `3*25=75 / 75+8=83 / 83=${expression}`)[0];
    expect(end("(3*25+8)")).toBe(-1);
    const wrong = ["(".repeat(60) + "3*25+8" + ")".repeat(60), "3*25+8+", "(3*25+8", "3*25+8)", "", "3 25", "8/(3-3)"];
    for (const expression of wrong) expect(end(expression), expression).toBe(2);
    expect(end("(".repeat(10000))).toBe(2);
  });
});

describe("a linear equation", () => {
  const problem = given("3x+5=2x-7:", "-12");

  it.each([
    ["3x-2x=-7-5 / x=-12", -1, 1],
    ["x+5=-7 / x=-12", -1, 1],
    ["3x+5-2x=-7 / 5+x=-7 / 2(x+5)=-14 / x=-24/2", -1, 1],
    ["x=-12", -1, 1],
    ["3x+2x=-7-5 / 5x=-12 / x=-12/5", 0, 0],
    ["x+5=-7 / x=-2", 1, 0],
    ["x+5=-7", 1, 0],
    ["0=0 / x=-12", 0, 1],
    ["x=-12 / x=-12", 1, 1],
    ["0x=0 / x=-12", 0, 1],
    ["x+5=-7=y / x=-12", 0, 1],
    ["x=12/0", 0, 0],
  ])("of %s", (lines, wrong, outcome) => {
    expect(judged("linear-equations", problem, lines)).toEqual([wrong, outcome]);
  });

  it("is worked off by collecting, moving and dividing, and slipped in by keeping a moved term's sign", () => {
    const { demonstrate } = proceduralTasks["linear-equations"];
    const bracketed = given("-2(3x-4)+1=2x-7:", "2");
    expect(demonstrate(bracketed, never)).toBe("-6x+9=2x-7\n-6x-2x=-7-9\n-8x=-16\nx=2");
    expect(demonstrate(problem, () => 0, 1)).toBe("3x+2x=-7+5\n5x=-2\nx=-2/5");
    // Kept as it is, the moved term would leave no x.
    expect(demonstrate(given("-2x+1=2x-7:", "2"), () => 0, 1)).toBe("-2x-2x=-7+1\n-4x=-6\nx=6/4");
  });
});

describe("the brackets that are open", () => {
  const problem = given("([{}:", "])");

  it.each([
    ["(=( / [=([ / {=([{ / }=([ / =])", -1, 1],
    ["(=( / [=([ / {=([{ / }=([{ / =}])", 3, 0],
    ["(=( / [=[( / {=([{ / }=([ / =])", 1, 1],
    ["(=( / [=([ / {=([{ / }=([ / =)]", 4, 0],
    ["=])", 0, 1],
  ])("of %s", (lines, wrong, outcome) => {
    expect(judged("brackets", problem, lines)).toEqual([wrong, outcome]);
  });

  it("are slipped in by taking an opening bracket for one that is there", () => {
    const doubled = given("(([:", "]))");
    expect(proceduralTasks.brackets.demonstrate(doubled, () => 0, 1)).toBe("(=(\n(=(\n[=([\n=])");
  });
});

describe("swaps", () => {
  const problem = given("cab;1-2;1-3:", "bca");

  it.each([
    ["1-2=acb / 1-3=bca", -1, 1],
    ["2-1=acb / 3-1=bca", -1, 1],
    ["1-2=acb / 1-3=cab", 1, 0],
    ["1-3=bac / 1-2=abc", 0, 0],
    ["1-2=abc / 1-3=bca", 0, 1],
  ])("of %s", (lines, wrong, outcome) => {
    expect(judged("swaps", problem, lines)).toEqual([wrong, outcome]);
  });

  it("are slipped in by taking the place before the right one", () => {
    expect(proceduralTasks.swaps.demonstrate(problem, () => 0, 1)).toBe("1-2=acb\n1-3=cab");
  });
});
