import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addonPaths } from "../../src/ops/addon.ts";
import { install, type Installed } from "../support/installed.ts";

const commands = ["demo", "init", "train", "eval", "report", "serve", "credit", "verify", "golden", "doctor", "build"];
const hasAddon = addonPaths.some((path) => existsSync(path));

let installed: Installed;
beforeAll(() => {
  installed = install();
});
afterAll(() => installed.remove());

describe("stepcredit without its addon", () => {
  it("gives help and the version", () => {
    const help = installed.run(["--help"]);
    expect([help.status, help.stderr]).toEqual([0, ""]);
    for (const command of commands) expect(help.stdout).toContain(`\n  ${command} `);
    const { version } = JSON.parse(readFileSync(join(installed.root, "package.json"), "utf8")) as {
      readonly version: string;
    };
    expect(installed.run(["--version"])).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
  });

  it.each(commands)("gives help for %s", (command) => {
    const { status, stdout, stderr } = installed.run([command, "--help"]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(new RegExp(`^Usage: stepcredit ${command} `));
    expect(stdout).toContain("--json <file>");
  });

  it("credits rollouts", () => {
    const line = { id: 1, prompt: "?", rollouts: [{ text: "a", reward: 1 }] };
    const { status, stdout } = installed.run(["credit", "-"], { input: JSON.stringify(line) });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject(line);
  });

  it("exits 1 with what is missing and what to do", () => {
    const { status, stderr } = installed.run(["golden", "."]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^stepcredit: the native addon is missing .*`npx stepcredit build`.*\n$/);
    const doctor = installed.run(["doctor"]);
    expect(doctor.status).toBe(1);
    expect(doctor.stdout).toMatch(/^CPU ops +do not work: the native addon is missing .*`npx stepcredit build`/m);
    expect(doctor.stdout).toMatch(/^CUDA +unknown without the addon/m);
  });
});

describe("the command line", () => {
  it("refuses an unknown command or option with the nearest known one, in one line, and exits 2", () => {
    const refused = (...args: readonly string[]) => installed.run(args);
    expect(refused("docter")).toEqual({
      status: 2,
      stdout: "",
      stderr: "stepcredit: unknown command 'docter' (did you mean doctor?)\n",
    });
    for (const command of commands) {
      expect(refused(command, "x", "--jsom")).toEqual({
        status: 2,
        stdout: "",
        stderr: "stepcredit: unknown option '--jsom' (did you mean --json?)\n",
      });
    }
    expect(refused("--versoin").stderr).toBe("stepcredit: unknown option '--versoin' (did you mean --version?)\n");
    expect(refused("credit")).toMatchObject({ status: 2, stderr: "stepcredit: missing required argument 'file'\n" });
    expect(refused().status).toBe(2);
  });

  it("shows the stack of an error only with STEPCREDIT_DEBUG=1", () => {
    const args = ["credit", join(installed.root, "nowhere")];
    expect(installed.run(args)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^stepcredit: cannot read .*\n$/) as string,
    });
    expect(installed.run(args, { env: { STEPCREDIT_DEBUG: "1" } }).stderr).toMatch(/\n {4}at /);
  });

  it("is quiet where nobody reads on", async () => {
    const line = `${JSON.stringify({ id: 1, prompt: "?", rollouts: [{ text: "x\n".repeat(2000), reward: 1 }] })}\n`;
    const child = spawn(process.execPath, [join(installed.root, "dist", "cli", "main.js"), "credit", "-"]);
    const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on("error", () => undefined); // it stops reading too
    child.stdout.once("data", () => child.stdout.destroy());
    child.stdin.end(line.repeat(200));
    expect(await exited).toBe(0);
    expect(stderr).toBe("");
  });

  it.skipIf(process.platform !== "linux")("exits 1 where the disk is full", () => {
    const line = JSON.stringify({ id: 1, prompt: "?", rollouts: [] });
    const { status, stderr } = installed.run(["credit", "-", "--out", "/dev/full"], { input: line });
    expect([status, stderr]).toEqual([1, "stepcredit: cannot write /dev/full: no space left on device\n"]);
  });
});

describe.skipIf(!hasAddon)("stepcredit with its addon", () => {
  beforeAll(() => installed.linkAddon());

  it("says in one line what the ops run on", () => {
    const { status, stdout } = installed.run(["doctor", "--brief"], {
      env: { STEPCREDIT_ISA: "generic", STEPCREDIT_NUM_THREADS: "1" },
    });
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^${process.platform}-${process.arch}, generic, .+, 1 thread\n$`));
  });

  it("writes its diagnosis to a file", () => {
    const json = join(installed.root, "doctor.json");
    const env = { STEPCREDIT_BLAS: "off", STEPCREDIT_NUM_THREADS: "3", STEPCREDIT_THREADS: "3" };
    const { status, stdout } = installed.run(["doctor", "--json", json], { env });
    expect(status).toBe(0);
    expect(stdout).toMatch(/STEPCREDIT_THREADS +is set and nothing reads it/);
    const diagnosis = JSON.parse(readFileSync(json, "utf8")) as { readonly isa: { readonly usable: string[] } };
    expect(diagnosis).toMatchObject({
      platform: process.platform,
      arch: process.arch,
      addon: { works: true, path: expect.stringMatching(/stepcredit\.node$/) as string, problem: null },
      isa: {
        chosen: process.env["STEPCREDIT_ISA"] ?? diagnosis.isa.usable[0],
        built: expect.arrayContaining(diagnosis.isa.usable) as string[],
      },
      threads: 3,
      blas: { used: false, why: expect.stringMatching(/STEPCREDIT_BLAS=off|none was found/) as string },
      cuda: { status: "not-built", why: expect.stringMatching(/^there is no file .*stepcredit_cuda\.so$/) as string },
      environment: { STEPCREDIT_BLAS: "off", STEPCREDIT_NUM_THREADS: "3" },
      unknownEnvironment: ["STEPCREDIT_THREADS"],
    });
  });

  it("exits 1 for an instruction set that is not usable, and names those that are", () => {
    const { status, stdout } = installed.run(["doctor"], { env: { STEPCREDIT_ISA: "sse9" } });
    expect(status).toBe(1);
    expect(stdout).toMatch(/expected isa to be one of .*generic.*STEPCREDIT_ISA is sse9: unset it/);
    expect(stdout).toMatch(/^instructions +none \(usable: .*generic/m);
  });
});
