import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { repository } from "../support/imports.ts";

const script = pathToFileURL(join(repository, "scripts", "build-cuda.mjs")).href;

/** Runs the part of the install script that builds the plug-in, with no nvcc where CUDACXX says that there is one. */
function build(env: Readonly<Record<string, string>>): { readonly status: number | null; readonly lines: string[] } {
  const source = `import { buildCuda } from ${JSON.stringify(script)}; process.exit(buildCuda());`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", source], {
    encoding: "utf8",
    env: { ...process.env, STEPCREDIT_CUDA: "", CUDACXX: "/nowhere/nvcc", ...env },
  });
  return { status, lines: `${stdout}${stderr}`.split("\n").filter((line) => line !== "") };
}

const reason = "CUDACXX says that nvcc is /nowhere/nvcc, which is not there";

describe("a plug-in that is there", () => {
  const isCurrent = async (made: unknown, wanted: unknown): Promise<boolean> => {
    const { isCurrent: answer } = (await import(script)) as { isCurrent: (made: unknown, wanted: unknown) => boolean };
    return answer(made, wanted);
  };
  const [asked, own] = [
    { inputs: "a", archs: "80;90a", asked: true },
    { inputs: "a", archs: "80-virtual", asked: false },
  ];

  it("stays where nothing changed, and where nobody asks for other architectures than it was asked to be for", async () => {
    expect(await isCurrent(asked, asked)).toBe(true);
    expect(await isCurrent(own, own)).toBe(true);
    expect(await isCurrent(asked, own)).toBe(true);
  });

  it("is built again for other sources, for other architectures, and where there is no record of it", async () => {
    expect(await isCurrent(asked, { ...asked, inputs: "b" })).toBe(false);
    expect(await isCurrent(asked, { ...asked, archs: "120" })).toBe(false);
    expect(await isCurrent(own, asked)).toBe(false);
    expect(await isCurrent(own, { ...own, archs: "native" })).toBe(false);
    expect(await isCurrent(undefined, own)).toBe(false);
  });
});

describe.skipIf(process.platform !== "linux")("npm install without nvcc", () => {
  it("says so in one line and succeeds", () => {
    expect(build({})).toEqual({ status: 0, lines: [`stepcredit: no CUDA plug-in, which nothing needs: ${reason}`] });
    expect(build({ STEPCREDIT_CUDA: "auto" }).status).toBe(0);
  });

  it("fails with the reason where CUDA is asked for", () => {
    expect(build({ STEPCREDIT_CUDA: "on" })).toEqual({
      status: 1,
      lines: [`stepcredit: no CUDA plug-in: ${reason}`],
    });
  });

  it("looks for nothing where CUDA is off, and refuses other words", () => {
    expect(build({ STEPCREDIT_CUDA: "off" })).toEqual({ status: 0, lines: [] });
    expect(build({ STEPCREDIT_CUDA: "yes" })).toEqual({
      status: 1,
      lines: ["stepcredit: expected STEPCREDIT_CUDA to be auto, on or off, received yes"],
    });
  });

  it("finds the compiler that the first of the variables names", () => {
    const nowhere = { CUDACXX: "", CUDA_PATH: "/nowhere/path", CUDA_HOME: "/nowhere/home" };
    expect(build(nowhere).lines[0]).toContain("CUDA_PATH says that nvcc is /nowhere/path/bin/nvcc");
    expect(build({ ...nowhere, CUDA_PATH: "" }).lines[0]).toContain(
      "CUDA_HOME says that nvcc is /nowhere/home/bin/nvcc",
    );
  });
});
