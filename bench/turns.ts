/** Timing several contestants in turns. */

import { Bench } from "tinybench";

/** How long one turn lasts: at least `time` milliseconds and `iterations` calls. */
export interface Sampling {
  readonly time: number;
  readonly iterations: number;
  readonly warmupIterations: number;
}

/** Something whose calls can be timed. */
export interface Contestant {
  /** Milliseconds of every call of one turn. */
  sample(sampling: Sampling): readonly number[] | Promise<readonly number[]>;
  close?(): Promise<void>;
}

/** For contestants that take less than `slowMs`, and for those that take more. */
const quick = { rounds: 5, time: 150, iterations: 2, warmupIterations: 1 };
const slow = { rounds: 5, time: 0, iterations: 1, warmupIterations: 0 };
const slowMs = 500;
const once: Sampling = { time: 0, iterations: 1, warmupIterations: 0 };

/**
 * Milliseconds of every call. The contestants take turns, several times around, so that what else the machine does meets them
 * alike. A first call of each, which touches its memory, is not counted.
 */
export async function sampleInTurns(
  contestants: Readonly<Record<string, Contestant>>,
): Promise<Record<string, readonly number[]>> {
  const samples: Record<string, number[]> = {};
  let longest = 0;
  for (const [name, contestant] of Object.entries(contestants)) {
    samples[name] = [];
    longest = Math.max(longest, ...(await contestant.sample(once)));
  }
  const { rounds, ...sampling } = longest < slowMs ? quick : slow;
  for (let round = 0; round < rounds; round++) {
    for (const [name, contestant] of Object.entries(contestants)) {
      samples[name].push(...(await contestant.sample(sampling)));
    }
  }
  return samples;
}

/** For what is not compared with a floor, and may be slow. */
export function sampleAlone(task: () => void): readonly number[] {
  const contestant = inProcess(task);
  const [first] = contestant.sample(once);
  return contestant.sample(first < slowMs ? { ...quick, iterations: 5 } : { ...slow, iterations: 2 });
}

/** A contestant that is called in this process. */
export function inProcess(task: () => void): { sample(sampling: Sampling): readonly number[] } {
  return {
    sample({ time, iterations, warmupIterations }) {
      const warmup = warmupIterations > 0;
      const options = { time, iterations, warmup, warmupIterations, warmupTime: 0, retainSamples: true, throws: true };
      const [{ result }] = new Bench(options).add("task", task).runSync();
      if (result.state !== "completed") throw new Error(`bench: expected a completed run, it is ${result.state}`);
      if (result.latency.samples === undefined) throw new Error("bench: expected samples, received none");
      return result.latency.samples;
    },
  };
}
