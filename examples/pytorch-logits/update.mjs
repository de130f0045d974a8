// The other side of train.py: opens the memory of its logits and writes their gradient into it.
//
// One line of JSON comes in: { logits: { handle, byteOffset, shape, dtype }, targetOffsets, targets, oldLogprobs, advantages,
// weights, epsLow, epsHigh }, the handle in base64. One goes out: { loss, clipFraction }, when the gradient is there. Exit status
// 77: there is no device; 2: there is no line.
import { createInterface } from "node:readline";
import { cudaReport, openOps } from "../../dist/index.js";

function stop(status, line) {
  console.error(`pytorch-logits: ${line}`);
  process.exit(status);
}

const { status, why } = cudaReport();
if (status !== "ready") stop(77, `needs a CUDA device; CUDA is ${status}: ${why}`);

const { value: line } = await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();
if (line === undefined) stop(2, "usage: train.py starts this program and writes a line of JSON to it");
const request = JSON.parse(line);

const ops = openOps("cuda");
const { handle, ...place } = request.logits;
const logits = ops.memory.open({ handle: new Uint8Array(Buffer.from(handle, "base64")), ...place });
const { metrics } = ops.policyUpdate.clip({
  logits,
  dlogits: logits,
  targetOffsets: Int32Array.from(request.targetOffsets),
  targets: Int32Array.from(request.targets),
  oldLogprobs: Float32Array.from(request.oldLogprobs),
  advantages: Float32Array.from(request.advantages),
  weights: Float32Array.from(request.weights),
  epsLow: request.epsLow,
  epsHigh: request.epsHigh,
});
ops.memory.wait(); // the trainer has no stream of this process to wait for
logits.dispose();
console.log(JSON.stringify({ loss: metrics.loss, clipFraction: metrics.clipFraction }));
