import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { prelude, runChild } from "../support/child.ts";
import { install, node, type Installed } from "../support/installed.ts";

let installed: Installed;
beforeAll(() => {
  installed = install();
  installed.linkAddon();
});
afterAll(() => installed.remove());

/** Runs a module that can start workers: `start(source)` gives a worker of that source with the prelude. */
function run(source: string): { readonly status: number | null; readonly lines: readonly string[] } {
  const workers = `
    import { Worker } from "node:worker_threads";
    const start = (source) => new Worker(${JSON.stringify(`(async () => { const { parentPort } = await import("node:worker_threads"); ${prelude(installed)}\n`)} + source + "})()", { eval: true });
    const message = (worker) => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    const exit = (worker) => new Promise((resolve) => worker.once("exit", resolve));
  `;
  const { status, stdout, stderr } = runChild(installed, workers + source);
  const words = stderr.split("\n").filter((line) => line.trim() !== "");
  return { status, lines: [...stdout.trim().split("\n"), ...words] };
}

describe("worker_threads", () => {
  it("run sync and promise calls each on their own, at the same time, with the same bits", () => {
    const { status, lines } = run(`
      const work = \`
        const bits = [];
        for (let i = 0; i < 20; i++) {
          const args = { ...rows(), temperature: 1 + i / 4 };
          const [sync, later] = [ops.logprobs(args), await ops.promises.logprobs(args)];
          bits.push(Buffer.from(sync.logprobs.buffer).toString("hex"), Buffer.from(later.logprobs.buffer).toString("hex"));
          ops.treeAttention(long(200));
          await ops.promises.treeAttention(long(200));
        }
        parentPort.postMessage(bits.join());
      \`;
      const workers = [work, work, work].map(start);
      const results = await Promise.all(workers.map(message));
      console.log(new Set(results).size, results[0].length > 0);
    `);
    expect({ status, lines }).toEqual({ status: 0, lines: ["1 true"] });
  });

  it("that are terminated in the middle of a call take nothing down, and the calls of others go on", () => {
    const { status, lines } = run(`
      const controller = new AbortController();
      const mine = ops.promises.treeAttention(long(endless), controller);
      for (let round = 0; round < 2; round++) {
        const worker = start(\`
          ops.promises.treeAttention(long(endless));
          ops.promises.treeAttention(long(endless, (length) => new Float32Array(new SharedArrayBuffer(4 * length))));
          ops.promises.treeAttention(long(endless, (length) => Tensor.allocate([length]).data));
          for (let i = 0; i < 2; i++) ops.promises.treeAttention(long(endless));
          parentPort.postMessage("running");
        \`);
        await message(worker);
        await worker.terminate();
      }
      console.log("terminated", tensorBytes());
      const { logprobs } = await ops.promises.logprobs(rows());
      console.log(logprobs.length);
      controller.abort();
      await mine.catch((error) => console.log(error.name));
    `);
    expect({ status, lines }).toEqual({ status: 0, lines: ["terminated 0", "3", "AbortError"] });
  });

  it("that exit on their own in the middle of a call take nothing down either", () => {
    const { status, lines } = run(`
      const worker = start('ops.promises.treeAttention(long(endless)); process.exit(5);');
      console.log(await exit(worker));
      const failing = start('ops.promises.treeAttention(long(endless)); throw new Error("wrong");');
      failing.on("error", (error) => console.log(error.message));
      console.log(await exit(failing));
      console.log((await ops.promises.logprobs(rows())).logprobs.length);
    `);
    expect({ status, lines }).toEqual({ status: 0, lines: ["5", "wrong", "1", "3"] });
  });

  it("may be the only ones that load the addon: its threads outlive them", () => {
    const source = `
      import { Worker } from "node:worker_threads";
      const source = ${JSON.stringify(`(async () => { ${prelude(installed)} ops.treeAttention(long(500)); await ops.promises.treeAttention(long(500)); })()`)};
      for (let i = 0; i < 3; i++) await new Promise((resolve) => new Worker(source, { eval: true }).once("exit", resolve));
      await new Promise((resolve) => setTimeout(resolve, 200));
      console.log("alive");
    `;
    expect(node(["--input-type=module", "-e", source])).toMatchObject({ status: 0, stdout: "alive\n" });
  });

  it("share memory with the thread that they were given it by, and nothing is copied", () => {
    const { status, lines } = run(`
      const logprobs = new Float32Array(new SharedArrayBuffer(12));
      const worker = start(\`
        parentPort.once("message", async (logprobs) => {
          await ops.promises.logprobs({ ...rows(), logprobs });
          parentPort.postMessage("done");
        });
      \`);
      worker.postMessage(logprobs);
      await message(worker);
      console.log(Buffer.compare(Buffer.from(logprobs.slice().buffer), Buffer.from(ops.logprobs(rows()).logprobs.buffer)));
    `);
    expect({ status, lines }).toEqual({ status: 0, lines: ["0"] });
  });
});

describe("the process", () => {
  it("stays alive until pending promises have settled, and no longer", () => {
    const { status, lines } = run(`
      ops.promises.treeAttention(long(2000)).then(() => console.log("settled"));
      process.once("exit", () => console.log("exit"));
    `);
    expect({ status, lines }).toEqual({ status: 0, lines: ["settled", "exit"] });
  });

  it.each([
    "process.exit(3)",
    "setImmediate(() => process.exit(3))",
    "setTimeout(() => { process.exitCode = 3; throw 1; }, 30)",
  ])("may end in the middle of calls: %s", (end) => {
    const { status } = run(`
        const x = new Float32Array(4 << 20), weight = new Float32Array(1 << 20), y = new Float32Array(4 << 20);
        for (let i = 0; i < 3; i++) ops.promises.linear({ x, weight, y, rows: 4096 });
        for (let i = 0; i < 4; i++) ops.promises.treeAttention(long(endless, (length) => Tensor.allocate([length]).data));
        process.on("uncaughtException", () => process.exit(3));
        ${end};
      `);
    expect(status).toBe(3);
  });
});
