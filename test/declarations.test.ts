import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { repository } from "./support/imports.ts";
import { node } from "./support/installed.ts";

const compiler = join(repository, "node_modules", "typescript", "bin", "tsc");
const { exports: subpaths } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as {
  readonly exports: Readonly<Record<string, unknown>>;
};
/** What a program imports from: `stepcredit`, `stepcredit/ops`, … */
const modules = Object.entries(subpaths)
  .filter(([, target]) => typeof target !== "string")
  .map(([subpath]) => `stepcredit${subpath.slice(1)}`);

describe("the declarations of the package", () => {
  let consumer: string;

  beforeAll(() => {
    // A program's folder with the package as installed: its declarations of now, and its dependencies.
    consumer = mkdtempSync(join(tmpdir(), "stepcredit-"));
    const installed = join(consumer, "node_modules", "stepcredit");
    mkdirSync(installed, { recursive: true });
    writeFileSync(join(installed, "package.json"), readFileSync(join(repository, "package.json")));
    symlinkSync(join(repository, "node_modules"), join(installed, "node_modules"), "dir");
    const project = ["-p", join(repository, "tsconfig.build.json"), "--outDir", join(installed, "dist")];
    const compiled = node([compiler, ...project, "--noCheck", "--emitDeclarationOnly", "--sourceMap", "false"]);
    expect(compiled).toEqual({ status: 0, stdout: "", stderr: "" });
  });
  afterAll(() => {
    rmSync(consumer, { recursive: true });
  });

  it.each(modules)("those of %s hold in a strict program that lists no types and checks its libraries", (module) => {
    const settings = { strict: true, module: "nodenext", target: "es2022", lib: ["es2022"], types: [], noEmit: true };
    const project = join(consumer, "tsconfig.json");
    writeFileSync(
      project,
      JSON.stringify({ compilerOptions: { ...settings, skipLibCheck: false }, files: ["program.mts"] }),
    );
    writeFileSync(join(consumer, "program.mts"), `export * from ${JSON.stringify(module)};\n`);
    expect(node([compiler, "-p", project])).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});
