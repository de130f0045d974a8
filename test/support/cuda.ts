/** The CUDA backend compiled for the host, as a plug-in, and the one for devices. */

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Device code on the host is written for Linux. */
export const runsOnHost = process.platform === "linux";

/** Compiles the plug-in for the host where its sources have changed, and gives its path. */
export function hostPlugin(): string {
  const script = fileURLToPath(new URL("../../scripts/build-cuda-host.mjs", import.meta.url));
  return execFileSync(process.execPath, [script], { encoding: "utf8" }).trim();
}
