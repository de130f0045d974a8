import { afterAll, describe, expect, it } from "vitest";
import { prelude, runChild } from "../support/child.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { install, type Installed } from "../support/installed.ts";

let installed: Installed;
onHostDevice(() => {
  installed = install();
  installed.linkAddon();
});
afterAll(() => runsOnHost && installed.remove());

/** Runs a module with `cuda`, the ops of device code on the host, and gives its lines. */
function run(source: string, env: Readonly<Record<string, string>> = {}): readonly string[] {
  const variables = Object.entries(env).map(([name, value]) => `process.env.${name} = ${JSON.stringify(value)};`);
  const { status, stdout, stderr } = runChild(
    installed,
    `${variables.join("\n")} const cuda = openOps("cuda");\n${source}`,
  );
  expect([status, stderr]).toEqual([0, ""]);
  return stdout.trim().split("\n");
}

const work = `
  const stepCredits = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
  const stepOf = Int32Array.from({ length: 5000 }, (_, n) => (n * 7) % 32);
  const sums = async (cuda) => {
    const kept = cuda.memory.allocate([5000, 2]);
    let sum = 0;
    for (let i = 0; i < 10; i++) {
      cuda.scatterAdvantages({ stepCredits, stepOf, advantages: kept });
      const both = await Promise.all([1, 2, 3].map(() => cuda.promises.scatterAdvantages({ stepCredits, stepOf })));
      for (const array of [...both, kept.download()]) sum += array.reduce((total, value) => total + value, 0);
    }
    kept.dispose();
    return sum;
  };`;

describe.skipIf(!runsOnHost)("the ops of a device", () => {
  it("serve several JavaScript threads at once, each with tensors of its own", () => {
    const lines = run(`
      import { Worker } from "node:worker_threads";
      const source = ${JSON.stringify(`(async () => { ${prelude(installed)} ${work}
        (await import("node:worker_threads")).parentPort.postMessage(await sums(openOps("cuda"))); })()`)};
      const workers = [1, 2, 3].map(() => new Promise((resolve, reject) => {
        const worker = new Worker(source, { eval: true });
        worker.once("message", resolve).once("error", reject);
      }));
      ${work}
      const all = await Promise.all([sums(cuda), ...workers]);
      console.log(new Set(all).size, Number.isFinite(all[0]));
    `);
    expect(lines).toEqual(["1 true"]);
  });

  it("outlive a worker that ends with tensors and calls of its own", () => {
    const lines = run(`
      import { Worker } from "node:worker_threads";
      const source = ${JSON.stringify(`(async () => { ${prelude(installed)} ${work}
        const cuda = openOps("cuda");
        const kept = cuda.memory.allocate([5000, 2]);
        for (let i = 0; i < 50; i++) cuda.promises.scatterAdvantages({ stepCredits, stepOf, advantages: kept });
        (await import("node:worker_threads")).parentPort.postMessage("started"); })()`)};
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(source, { eval: true });
        await new Promise((resolve) => worker.once("message", resolve));
        await worker.terminate();
      }
      ${work}
      console.log(Number.isFinite(await sums(cuda)));
    `);
    expect(lines).toEqual(["true"]);
  });

  it("give back the memory of tensors that were forgotten", () => {
    const lines = run(
      `for (let i = 0; i < 40; i++) {
         cuda.memory.allocate([2 ** 20]);
         gc();
         await new Promise((resolve) => setImmediate(resolve));
       }
       console.log("as often as one likes");`,
      { STEPCREDIT_SIMT_MEMORY: String(32 << 20) },
    );
    expect(lines).toEqual(["as often as one likes"]);
  });

  it("reject a call that was cancelled before it began, and leave its arrays as they were", () => {
    const lines = run(`
      ${work}
      const advantages = new Float32Array(10000).fill(7);
      const stopped = new AbortController();
      const calls = Array.from({ length: 9 }, () =>
        cuda.promises.scatterAdvantages({ stepCredits, stepOf, advantages }, { signal: stopped.signal }));
      stopped.abort(new Error("enough"));
      const outcomes = await Promise.allSettled(calls);
      console.log(outcomes.every(({ status, reason }) => status === "fulfilled" || reason.message === "enough"));
      console.log(outcomes.filter(({ status }) => status === "rejected").length > 0);
      console.log((await cuda.promises.scatterAdvantages({ stepCredits, stepOf })).length);
    `);
    expect(lines).toEqual(["true", "true", "10000"]);
  });
});
