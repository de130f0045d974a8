import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { repository } from "./support/imports.ts";

/** Where the links of a page lead, from the root; those of the web and records of measurements apart. */
function linksOf(page: string): string[] {
  return [...readFileSync(join(repository, page), "utf8").matchAll(/\]\(([^)#]+)[^)]*\)/g)]
    .map(([, target]) => target)
    .filter((target) => !target.startsWith("http") && !target.endsWith(".json"))
    .map((target) => posix.join(posix.dirname(page), target));
}

describe("the package", () => {
  let files: string[];
  beforeAll(() => {
    const listed = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: repository,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    files = (JSON.parse(listed) as [{ readonly files: { readonly path: string }[] }])[0].files.map(({ path }) => path);
  });

  it("holds the pages that its README leads to, and what they lead to", () => {
    const pages = files.filter((file) => file.endsWith(".md"));
    expect(pages).toContain("README.md");
    const missing = pages.flatMap((page) =>
      linksOf(page)
        .filter((target) => !files.includes(target))
        .map((target) => `${page}: ${target}`),
    );
    expect(missing).toEqual([]);
  });

  it("holds the sources of the addon, and no tests, builds or records", () => {
    expect(files).toEqual(
      expect.arrayContaining(["binding.gyp", "native/ops.h", "native/cuda/plugin.cu", "scripts/install.mjs"]),
    );
    const unwanted = /^(?:test|build|node_modules|bench|runs|\.ci)\/|^native\/cuda\/host\/|record\.json$/;
    expect(files.filter((file) => unwanted.test(file))).toEqual([]);
  });
});
