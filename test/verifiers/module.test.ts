import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openVerifier, verifierNames } from "../../src/verifiers/index.ts";
import { loadVerifier } from "../../src/verifiers/module.ts";

const scratch = mkdtempSync(join(tmpdir(), "verifier-module-"));
afterAll(() => rmSync(scratch, { recursive: true }));

let written = 0;
function moduleOf(source: string): string {
  const path = join(scratch, `module-${written++}.mjs`);
  writeFileSync(path, source);
  return path;
}
const settings = { marker: "", seconds: 5, concurrency: 0, containment: "kernel" } as const;

describe("a verifier of the user's own", () => {
  it("is a function or a verifier, from the working directory", async () => {
    const path = relative(process.cwd(), moduleOf("export default (s, a, finished) => (s === a && finished ? 1 : 0);"));
    const verifier = await loadVerifier(path);
    expect(await verifier.verify("x", "x", true)).toBe(1);
    expect(await verifier.verify("x", "x", false)).toBe(0);
  });

  it("keeps its state and what it can extract", async () => {
    const path = moduleOf(`export default new (class {
      asked = 0;
      verify() { return ++this.asked; }
      extract(solution) { return solution + this.asked; }
    })();`);
    const verifier = await openVerifier(path, settings);
    expect(await verifier.verify("", "", true)).toBe(1);
    expect(await verifier.verify("", "", true)).toBe(2);
    expect(verifier.extract?.("x")).toBe("x2");
  });

  it.each([
    ["", /module-\d+\.mjs: expected a verifier .* received undefined$/],
    ["export default 3;", /expected a verifier \{ verify \} or a function .*, received number$/],
    ["export default null;", /received null$/],
    ["export default { verify: 1 };", /received object$/],
    ["export default (", /module-\d+\.mjs: expected a module .*, but it cannot be loaded: /],
    ["throw new Error('my own fault');", /cannot be loaded: my own fault$/],
  ])("of %j is refused by the name of its file", async (source, message) => {
    await expect(loadVerifier(moduleOf(source))).rejects.toThrow(message);
  });

  it("that is not there is refused, and so is a name that nobody has", async () => {
    await expect(loadVerifier("./nowhere.mjs")).rejects.toThrow("./nowhere.mjs: expected a module");
    await expect(openVerifier("maths", settings)).rejects.toThrow(
      `expected one of ${verifierNames.join(", ")}, or a module's path such as ./verifier.mjs, received "maths"`,
    );
    await expect(openVerifier("constructor", settings)).rejects.toThrow("expected one of");
  });

  it.each(verifierNames)("beside it, %s can be had by its name", async (name) => {
    expect((await openVerifier(name, settings)).extract?.("(A) is 1 + 2")).toBeDefined();
  });
});
