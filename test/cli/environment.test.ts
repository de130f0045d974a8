import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { diagnose, environmentVariables, ofClones } from "../../src/cli/diagnosis.ts";
import { describeDiagnosis } from "../../src/cli/doctor.ts";
import { repository } from "../support/imports.ts";

/** Where a program reads a variable of ours: `env["NAME"]`, `env.NAME`, `getenv("NAME")`. */
const reading = /(?:\benv\["|\benv\.|\bgetenv\(")(STEPCREDIT_[A-Z_]+)/g;

function variablesReadIn(folder: string): string[] {
  return readdirSync(join(repository, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(?:ts|mjs|cpp|cu|cuh|h)$/.test(entry.name))
    .flatMap((entry) => [...readFileSync(join(entry.parentPath, entry.name), "utf8").matchAll(reading)])
    .map(([, name]) => name);
}

describe("doctor's list of environment variables", () => {
  it("has all that commands, the build and the kernels read, and takes none of a clone's for a mistake", () => {
    const ofThePackage = ["src", "scripts", "native"].flatMap(variablesReadIn);
    expect(ofThePackage).toContain("STEPCREDIT_NUM_THREADS");
    const unlisted = ofThePackage.filter((name) => !(name in environmentVariables) && !ofClones.test(name));
    expect(unlisted).toEqual([]);
    const everywhere = [...ofThePackage, ...["bench", "test"].flatMap(variablesReadIn)];
    const { unknownEnvironment } = diagnose(Object.fromEntries(everywhere.map((name) => [name, "1"])));
    expect(unknownEnvironment).toEqual([]);
  });

  it("says of the server's key that it is set, and not what it is", () => {
    const diagnosis = diagnose({ STEPCREDIT_SERVE_KEY: "a-key-of-mine" });
    expect(diagnosis.environment["STEPCREDIT_SERVE_KEY"]).toBe("(not shown)");
    expect(describeDiagnosis(diagnosis).join("\n")).toMatch(/STEPCREDIT_SERVE_KEY += \(not shown\)/);
    expect(JSON.stringify(diagnosis)).not.toContain("a-key-of-mine");
  });
});
