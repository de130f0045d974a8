/**
 * What runs in the worker thread of a JavaScript program: an interpreter, QuickJS, compiled to WebAssembly. A text, because a
 * worker has to be started from the sources and from the built package alike.
 *
 * In: a job with its limits. Out: `{ values, output, finished }`, the values as JSON. A job gets an instance of its own, so
 * that nothing of one program is there when the next one runs. No expected value ever enters this thread.
 */
export const javascriptWorker = String.raw`
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const { parentPort, workerData } = require("node:worker_threads");
const resolve = createRequire(workerData.from);
const { newQuickJSWASMModuleFromVariant, newVariant } = resolve("quickjs-emscripten-core");
const variantName = "@jitl/quickjs-wasmfile-release-sync";
const variant = resolve(variantName).default;
const wasmModule = new WebAssembly.Module(readFileSync(resolve.resolve(variantName + "/wasm")));

// What the program finds, and how its values become JSON. Only these lines and the program run inside.
const prelude = ${"`"}((write, input) => {
  const { stringify } = JSON;
  const text = (value) => (typeof value === "object" && value !== null ? stringify(value) : String(value));
  const log = (...values) => write(values.map(text).join(" ") + "\\n");
  const silent = () => undefined;
  let at = 0;
  globalThis.console = { log, info: log, debug: log, warn: silent, error: silent };
  globalThis.print = log;
  globalThis.readline = () => {
    if (at >= input.length) return null;
    const end = input.indexOf("\\n", at) < 0 ? input.length : input.indexOf("\\n", at);
    const line = input.slice(at, end);
    at = end + 1;
    return line;
  };
  globalThis.process = { argv: [], env: {}, stdout: { write: (value) => (write(String(value)), true) } };
  globalThis.require = (name) => {
    if (name !== "fs" && name !== "node:fs") throw new Error("no module " + name);
    return {
      readFileSync: (path) => {
        if (path !== 0 && path !== "/dev/stdin") throw new Error("no file " + path);
        return input;
      },
    };
  };
  const exact = (_, value) => {
    if (value === undefined || typeof value === "function" || typeof value === "symbol") throw new TypeError("no JSON");
    if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError("no JSON");
    if (value instanceof Map || value instanceof Set) throw new TypeError("no JSON");
    if (typeof value === "bigint" && Number.isSafeInteger(Number(value))) return Number(value);
    return value;
  };
  return (value) => stringify(value, exact);
})${"`"};

async function run({ program, calls, input, seconds, memory, maxOutput }) {
  const quickjs = await newQuickJSWASMModuleFromVariant(newVariant(variant, { wasmModule }));
  const runtime = quickjs.newRuntime();
  const deadline = performance.now() + 1000 * seconds;
  const written = [];
  let size = 0;
  const isOver = () => size > maxOutput || performance.now() > deadline;
  runtime.setMemoryLimit(memory);
  runtime.setMaxStackSize(workerData.stackBytes);
  runtime.setInterruptHandler(isOver);
  const context = runtime.newContext();
  const keep = (text) => {
    size += text.length;
    if (!isOver()) written.push(text);
  };
  const write = context.newFunction("write", (value) => keep(context.getString(value)));
  const start = context.unwrapResult(context.evalCode(prelude, "<prelude>"));
  const encode = context.unwrapResult(context.callFunction(start, context.undefined, write, context.newString(input ?? "")));
  const evaluate = (code) => {
    const result = context.evalCode(code, "<program>");
    const jobs = runtime.executePendingJobs();
    return result.error === undefined && jobs.error === undefined ? result.value : undefined;
  };
  const valueOf = (call) => {
    const value = evaluate("(" + call + "\n)");
    if (value === undefined) return undefined;
    const state = context.getPromiseState(value);
    if (state.type !== "fulfilled") return undefined;
    const text = context.callFunction(encode, context.undefined, state.value);
    if (text.error !== undefined || context.typeof(text.value) !== "string") return undefined;
    const json = context.getString(text.value);
    size += json.length;
    return isOver() ? undefined : json;
  };
  const finished = evaluate(program) !== undefined;
  const values = finished ? (calls ?? []).map(valueOf) : [];
  return { values, output: written.join(""), finished: finished && !isOver() };
}

parentPort.on("message", async (job) => {
  let ended;
  try {
    ended = await run(job);
  } catch {
    // The interpreter itself gave up: out of stack or of memory.
    ended = { values: [], output: "", finished: false };
  }
  parentPort.postMessage(ended);
});
parentPort.postMessage("ready");
`;
