import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { node, type Finished, type Installed } from "./installed.ts";

/**
 * Runs a module in a process of its own, with `ops` and everything that `stepcredit/ops` exports at hand.
 * What crashes there crashes alone, and shows as a status of null.
 */
export function runChild(installed: Installed, source: string): Finished {
  return node(["--expose-gc", "--input-type=module", "-e", `${prelude(installed)}\n${source}`]);
}

/** What a child process or a worker begins with. */
export function prelude(installed: Installed): string {
  const url = pathToFileURL(join(installed.root, "dist", "ops", "index.js")).href;
  return `
    const { openOps, Tensor, tensorBytes, tensorScope, setNumThreads } = await import(${JSON.stringify(url)});
    const ops = openOps("cpu");
    const rows = () => ({
      logits: Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7, 3, 2, 1, 0]),
      targetOffsets: Int32Array.of(0, 1, 2, 3),
      targets: Int32Array.of(3, 0, 1),
    });
    const long = (T, make = (length) => new Float32Array(length)) => ({
      q: make(32 * T), k: make(32 * T), v: make(32 * T), out: make(32 * T), lse: make(4 * T),
      subtreeEnd: new Int32Array(T).fill(T), heads: 4, kvHeads: 4, headSize: 8, scale: 0.5,
    });
    const endless = 2 ** 17;
    setNumThreads(2);
  `;
}
