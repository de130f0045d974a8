/** A thread of a floor: moves its share at every call, polls for the next one a moment, then sleeps. */

import { parentPort, workerData } from "node:worker_threads";
import { Stream, type Traffic } from "./stream.ts";

/** Words of the control array: the number of the latest call, and how many threads are done with it. */
export const started = 0;
export const done = 1;
export const controlLength = 2;
/** In place of a call's number: no more calls. */
export const closing = -1;

const polls = 20_000;

if (parentPort !== null) {
  const { control, share } = workerData as { readonly control: Int32Array; readonly share: Traffic };
  const stream = new Stream(share);
  parentPort.postMessage("ready");
  let seen = 0;
  for (;;) {
    for (let poll = 0; poll < polls && Atomics.load(control, started) === seen; poll++);
    Atomics.wait(control, started, seen);
    seen = Atomics.load(control, started);
    if (seen === closing) break;
    stream.run();
    Atomics.add(control, done, 1);
  }
}
