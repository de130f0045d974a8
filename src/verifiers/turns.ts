/** Work of which only so much goes on at a time; the rest waits in the order in which it came. */

import { availableParallelism } from "node:os";

export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param concurrency how much at a time, an integer ≥ 1; 0: as much as there are usable cores */
  constructor(concurrency: number) {
    if (!(Number.isInteger(concurrency) && concurrency >= 0)) {
      throw new RangeError(`verifier: expected concurrency to be an integer ≥ 0, received ${concurrency}`);
    }
    this.#free = concurrency === 0 ? availableParallelism() : concurrency;
  }

  /** Does the work when its turn comes, and gives what it gives. */
  async take<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // A turn that ends is handed on: nobody who comes in between can take it.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
