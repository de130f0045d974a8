/** Verified solutions that are kept to be learned again. */

import { identify } from "./identify.ts";
import type { Problem } from "./problem.ts";
import { completionOf, type Tree } from "./tree.ts";

/** A failed solution and a verified one of the same problem. Plain data: it can be written as JSON. */
export interface ReplayEntry {
  readonly problem: Problem;
  readonly failed: readonly number[];
  readonly success: readonly number[];
}

/** What a buffer is made again from, in JSON. */
export interface ReplayState {
  readonly entries: readonly ReplayEntry[];
  /** ever */
  readonly added: number;
}

export interface ReplayBuffer {
  add(entries: readonly ReplayEntry[]): void;
  readonly state: ReplayState;
}

const nothing: ReplayState = { entries: [], added: 0 };

/** Keeps the newest. */
export function newestReplay(capacity: number, from: ReplayState = nothing): ReplayBuffer {
  checkCapacity("newestReplay", capacity);
  let { entries, added } = from;
  return {
    add: (more) => {
      entries = [...entries, ...more].slice(-capacity);
      added += more.length;
    },
    get state() {
      return { entries, added };
    },
  };
}

/**
 * Keeps an even sample of all that was ever added (Vitter 1985, algorithm R).
 * @param random uniform in [0, 1)
 */
export function evenReplay(capacity: number, random: () => number, from: ReplayState = nothing): ReplayBuffer {
  checkCapacity("evenReplay", capacity);
  const entries = [...from.entries];
  let { added } = from;
  return {
    add: (more) => {
      for (const entry of more) {
        const at = added++ < capacity ? entries.length : Math.floor(random() * added);
        if (at < capacity) entries[at] = entry;
      }
    },
    get state() {
      return { entries, added };
    },
  };
}

/** One entry for every verified solution that is some failed solution's reference, with the first of these. */
export function replayEntries(trees: readonly Tree[]): ReplayEntry[] {
  return trees.flatMap((tree) => {
    const failures = new Map<number, number>();
    identify(tree).forEach(({ reference }, leaf) => {
      if (reference >= 0 && !failures.has(reference)) failures.set(reference, leaf);
    });
    return [...failures].map(([success, failed]) => ({
      problem: tree.problem,
      failed: completionOf(tree, failed),
      success: completionOf(tree, success),
    }));
  });
}

function checkCapacity(caller: string, capacity: number): void {
  if (!Number.isInteger(capacity) || capacity < 1) {
    throw new RangeError(`${caller}: expected capacity to be an integer ≥ 1, received ${capacity}`);
  }
}
