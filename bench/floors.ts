/**
 * The physical floor of an op that only moves memory: the time of the C library's own loops over as many bytes.
 *
 *   read and written   memmove, by Uint8Array.set, of as many bytes as are both read and written
 *   read only          memchr, by Buffer.indexOf of a byte that is not there, over what is read besides
 *   written only       memset, by Uint8Array.fill, over what is written besides
 *
 * With several threads each moves its share of the bytes on buffers of its own; a call ends when the last one does. No
 * buffer is shared between threads: V8 copies a SharedArrayBuffer element by element.
 *
 * Limits. memmove of a large block bypasses the caches (non-temporal stores), so that a plain loop that must fetch a line
 * before it writes it cannot reach this floor out of place. Blocks that fit a cache stay there between calls, as those of
 * the op do; an op that works in place fits where the floor's two blocks do not, and may take less than its floor. Where
 * the C library has no vector loops the floor is too high. A ratio below 1 says so in both cases.
 */

import { Worker } from "node:worker_threads";
import { closing, controlLength, done, started } from "./floor-worker.ts";
import { Stream, type Traffic } from "./stream.ts";

export type { Traffic } from "./stream.ts";

export class Floor {
  readonly #own: Stream;
  readonly #control: Int32Array;
  readonly #workers: readonly Worker[];
  #calls = 0;

  private constructor(own: Stream, control: Int32Array, workers: readonly Worker[]) {
    this.#own = own;
    this.#control = control;
    this.#workers = workers;
  }

  /** Allocates the buffers and starts the threads. */
  static async open(traffic: Traffic, threads: number): Promise<Floor> {
    const share = {
      readBytes: Math.ceil(traffic.readBytes / threads),
      writtenBytes: Math.ceil(traffic.writtenBytes / threads),
    };
    const control = new Int32Array(new SharedArrayBuffer(4 * controlLength));
    const workers = Array.from({ length: threads - 1 }, () => {
      const execArgv = ["--import", new URL("./register.mjs", import.meta.url).href];
      return new Worker(new URL("./floor-worker.ts", import.meta.url), { workerData: { control, share }, execArgv });
    });
    const ready = workers.map(
      (worker) => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject)),
    );
    await Promise.all(ready);
    return new Floor(new Stream(share), control, workers);
  }

  /** Moves the bytes once, on all threads. */
  run(): void {
    this.#calls++;
    Atomics.store(this.#control, done, 0);
    Atomics.store(this.#control, started, this.#calls);
    Atomics.notify(this.#control, started);
    this.#own.run();
    while (Atomics.load(this.#control, done) < this.#workers.length);
  }

  async close(): Promise<void> {
    Atomics.store(this.#control, started, closing);
    Atomics.notify(this.#control, started);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
