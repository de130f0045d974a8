import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repository } from "./imports.ts";

/** The compiled package in a folder of its own, as an installation has it. */
export interface Installed {
  readonly root: string;
  /** Runs `stepcredit …` there. */
  run(
    args: readonly string[],
    options?: { readonly input?: string; readonly env?: Readonly<Record<string, string>> },
  ): Finished;
  /** Gives it the repository's native addon. */
  linkAddon(): void;
  remove(): void;
}

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Compiles the sources as they are now, without checking types. There is no native addon.
 *
 * @throws Error with the compiler's words
 */
export function install(): Installed {
  const root = mkdtempSync(join(tmpdir(), "stepcredit-"));
  const compiler = join(repository, "node_modules", "typescript", "bin", "tsc");
  const project = ["-p", join(repository, "tsconfig.build.json"), "--outDir", join(root, "dist")];
  const compiled = node([compiler, ...project, "--noCheck", "--declaration", "false", "--sourceMap", "false"]);
  if (compiled.status !== 0) throw new Error(`tsc: ${compiled.stdout}${compiled.stderr}`);
  cpSync(join(repository, "package.json"), join(root, "package.json"));
  const link = (folder: string): void => {
    if (existsSync(join(repository, folder))) symlinkSync(join(repository, folder), join(root, folder), "dir");
  };
  link("node_modules");
  return {
    root,
    run: (args, options) => node([join(root, "dist", "cli", "main.js"), ...args], options),
    linkAddon: () => ["build", "prebuilds"].forEach(link),
    remove: () => rmSync(root, { recursive: true }),
  };
}

/** Runs Node.js with arguments; colours off. */
export function node(
  args: readonly string[],
  { input = "", env = {} }: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Finished {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    input,
    env: { ...process.env, NO_COLOR: "1", ...env },
    maxBuffer: 2 ** 28,
  });
  return { status, stdout, stderr };
}
