import { describe, expect, it } from "vitest";
import { importsBelow, includesBelow, type Import } from "./support/imports.ts";

const src = importsBelow("src");
const isIn = (file: string, ...places: string[]) => places.some((place) => file === place || file.startsWith(place));
const leaving = (imports: readonly Import[], from: string, ...allowed: string[]) =>
  imports.filter((edge) => isIn(edge.from, from) && !isIn(edge.to, ...allowed));
const reaching = (imports: readonly Import[], from: string, ...forbidden: string[]) =>
  imports.filter((edge) => isIn(edge.from, from) && isIn(edge.to, ...forbidden));

describe("the direction of imports", () => {
  it("is read from every folder it is claimed of", () => {
    expect(src).toContainEqual({ from: "src/batch.ts", to: "src/trajectory/index.ts" });
    expect(includesBelow("native")).toContainEqual({ from: "native/cpu/cpu.h", to: "native/backend.h" });
    for (const folder of ["src/trajectory/", "src/ops/", "src/policies/", "src/cli/"]) {
      expect(src.filter(({ from }) => from.startsWith(folder)).length, folder).toBeGreaterThan(0);
    }
  });

  it("trajectory imports nothing outside itself, not even Node", () => {
    expect(leaving(src, "src/trajectory/", "src/trajectory/")).toEqual([]);
  });

  it("ops import nothing outside themselves but Node", () => {
    expect(leaving(src, "src/ops/", "src/ops/", "node:")).toEqual([]);
  });

  it("the bridge sees trees and chance only", () => {
    expect(leaving(src, "src/batch.ts", "src/trajectory/", "src/random.ts")).toEqual([]);
    expect(leaving(src, "src/random.ts")).toEqual([]);
  });

  it("advantages know trees' group statistics and the flat layout of sequences, nothing else", () => {
    const allowed = ["src/advantages/", "src/trajectory/", "src/normaliser.ts"];
    expect(leaving(src, "src/advantages/", ...allowed)).toEqual([]);
  });

  it("policies know neither the trainer nor the command line", () => {
    expect(reaching(src, "src/policies/", "src/cli/", "src/trainer")).toEqual([]);
  });

  it("only the command line imports the command line", () => {
    expect(reaching(src, "src/", "src/cli/").filter(({ from }) => !isIn(from, "src/cli/"))).toEqual([]);
  });

  it("src imports neither tests nor benches", () => {
    expect(reaching(src, "src/", "test/", "bench/")).toEqual([]);
  });

  it("tests and benches share test/support and nothing else, the tests of the bench excepted", () => {
    const test = importsBelow("test").filter(({ from }) => !from.startsWith("test/bench-"));
    expect(reaching(test, "test/", "bench/")).toEqual([]);
    expect(reaching(test, "test/support/", "test/").filter(({ to }) => !isIn(to, "test/support/"))).toEqual([]);
    expect(reaching(importsBelow("bench"), "bench/", "test/").filter(({ to }) => !isIn(to, "test/support/"))).toEqual(
      [],
    );
  });

  it("only native/addon knows Node", () => {
    const outside = includesBelow("native").filter(({ from }) => !isIn(from, "native/addon/"));
    expect(reaching(outside, "native/", "native/addon/", "napi", "node", "js_native_api", "uv", "v8")).toEqual([]);
  });
});
