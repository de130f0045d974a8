import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadAddon } from "../src/ops/addon.ts";
import { repository } from "./support/imports.ts";

const release = join(repository, "build", "Release");
const libraries = existsSync(release) ? readdirSync(release).filter((file) => /kernels_\w+\.a$/.test(file)) : [];
const built = join(release, "stepcredit.node");
const hasNm = process.platform === "linux" && spawnSync("nm", ["--version"]).status === 0;
// A sanitizer adds symbols of its own.
const canRead = hasNm && (process.env["STEPCREDIT_SANITIZE"] ?? "") === "";

/** The lines of `nm` that match; throws where it cannot read the file. */
function symbols(pattern: RegExp, file: string, ...options: string[]): readonly string[] {
  const { status, stdout, stderr } = spawnSync("nm", [...options, file], { encoding: "utf8", maxBuffer: 2 ** 28 });
  if (status !== 0) throw new Error(`nm ${file}: ${stderr}`);
  return stdout.split("\n").filter((line) => pattern.test(line));
}

describe("the built addon", () => {
  // The linker keeps one copy of a weak symbol, from whichever library comes first: an AVX-512 copy would then run on a
  // processor without it.
  it.skipIf(!canRead || libraries.length === 0)("has no weak symbol in the libraries of an instruction set", () => {
    for (const library of libraries) {
      const file = join(release, library);
      expect(symbols(/ T sc_cpu_backend_/, file).length, library).toBe(1);
      expect(symbols(/ [WVu] /, file), library).toEqual([]);
    }
  });

  it.skipIf(!canRead || !existsSync(built))("exports what Node looks for and nothing else", () => {
    const names = symbols(/./, built, "-D", "--defined-only").map((line) => line.split(" ").at(-1));
    expect(names.sort()).toEqual(["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
  });

  it("leaves subnormal numbers alone: nothing in it was linked with -ffast-math", () => {
    expect(Object.keys(loadAddon().backends).length).toBeGreaterThan(0);
    const smallest = Number.parseFloat("5e-324");
    expect(smallest * Number.parseFloat("1")).toBe(5e-324);
    expect(Number.parseFloat("2.2250738585072014e-308") / 4).toBe(5.562684646268003e-309);
  });
});
