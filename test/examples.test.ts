import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { repository } from "./support/imports.ts";
import { install, node, type Installed } from "./support/installed.ts";

/** Examples that ask for files to work on; what they do with them is tested beside the command that reads it. */
const withArguments = ["convert-llama2c.mjs", "gsm8k-to-rollouts.mjs", "train-stories.mjs"];
/** The JavaScript blocks of the page, each a program. */
const blocks = [
  ...readFileSync(join(repository, "docs", "embedding.md"), "utf8").matchAll(/^```js\n(.*?)^```$/gms),
].map(([, program]) => program);
const examples = readdirSync(join(repository, "examples")).filter((file) => file.endsWith(".mjs"));

describe("the examples", () => {
  let installed: Installed;
  beforeAll(() => {
    // Against the sources as they are now, not against whatever lies in dist/.
    installed = install();
    installed.linkAddon();
    cpSync(join(repository, "examples"), join(installed.root, "examples"), { recursive: true });
  });
  afterAll(() => installed.remove());

  const run = (example: string) => node([join(installed.root, "examples", example)]);

  it.each(examples.filter((example) => !withArguments.includes(example)))(
    "%s runs and holds what it asserts",
    (example) => {
      const { status, stdout, stderr } = run(example);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).not.toBe("");
    },
  );

  it.each(withArguments)("%s says how it is used where it gets no file", (example) => {
    const { status, stderr } = run(example);
    expect(status).toBe(2);
    expect(stderr).toContain("usage:");
  });

  it("the JavaScript blocks of docs/embedding.md run as they stand", () => {
    expect(blocks.length).toBeGreaterThan(0);
    blocks.forEach((program, block) => {
      const file = join(installed.root, `block-${block}.mjs`);
      writeFileSync(file, program);
      const { status, stderr } = node([file]);
      expect({ status, stderr }, program).toEqual({ status: 0, stderr: "" });
    });
  });
});
