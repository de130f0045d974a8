/** How a subject is checked and timed. */

import { Bench } from "tinybench";
import { openOps, setNumThreads } from "../src/ops/native.ts";
import type { Ops } from "../src/ops/ops.ts";
import { reference } from "../src/ops/reference.ts";
import type { Make, Outcome } from "../test/support/cases/op-case.ts";
import { float32, float64 } from "../test/support/cases/op-case.ts";
import type { BenchEnvironment, BenchRecord } from "../test/support/timing.ts";
import { benchRecord, disagreement } from "../test/support/timing.ts";
import { Floor, type Traffic } from "./floors.ts";
import { torchSamples, type TorchJob } from "./peers/torch.ts";

/** Arrays of one size, and one call on them. */
export interface Instance {
  run(ops: Ops): void;
  /** The same call in plain loops over typed arrays; absent where that would take minutes. */
  runPlain?(): void;
  /** what the latest call wrote */
  outcome(): Outcome;
}

/** What a size costs. */
export interface Cost extends Traffic {
  /** multiplications and additions of the formula; 0 where memory is the only cost that counts */
  readonly flops: number;
}

/** One op on sizes of one kind. */
export interface Work<Size extends { readonly name: string }> {
  readonly op: string;
  readonly sizes: readonly Size[];
  /** small enough for the reference */
  readonly reduced: Size;
  /** told apart where one op is several works: `in-place` */
  readonly variant?: string;
  /** multiplied portably even where BLAS is at hand */
  readonly portable?: boolean;
  /** `[512, 151936]` */
  shape(size: Size): string;
  cost(size: Size): Cost;
  build(size: Size, make: Make): Instance;
  /** the floor: moving the bytes (default), none, or other work times a factor, where there is some */
  readonly floor?: "none" | ((size: Size) => { readonly instance: Instance; readonly factor: number } | undefined);
  /** also time the portable matrix product, as a peer */
  readonly portablePeer?: boolean;
  /** the same for PyTorch */
  torch?(size: Size): Omit<TorchJob, "threads">;
}

export interface MeasureOptions {
  readonly threads: number;
  readonly peers: boolean;
  readonly env: BenchEnvironment;
}

/** A work on one of its sizes. */
export interface Subject {
  /** `policy-update.clip/llama-2/in-place` */
  readonly name: string;
  /** What the kernel gets wrong on the reduced size, by output; empty where nothing. */
  check(): readonly string[];
  measure(options: MeasureOptions): Promise<BenchRecord>;
}

export function subjects<Size extends { readonly name: string }>(work: Work<Size>): Subject[] {
  return work.sizes.map((size) => ({
    name: [kebab(work.op), size.name, ...(work.variant === undefined ? [] : [work.variant])].join("/"),
    check: () => check(work),
    measure: (options) => measure(work, size, options),
  }));
}

/** `policyUpdate.clip` → `policy-update.clip` */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

const nativeOps = (work: { readonly portable?: boolean }): Ops => openOps("cpu", { blas: work.portable !== true });

function check<Size extends { readonly name: string }>(work: Work<Size>): string[] {
  const outcome = (ops: Ops, make: Make): Outcome => {
    const instance = work.build(work.reduced, make);
    instance.run(ops);
    return instance.outcome();
  };
  const kernel = outcome(nativeOps(work), float32);
  const truth = outcome(reference(), float64);
  const plain = outcome(reference(Math.fround), float64);
  return Object.keys(truth).flatMap((key) => {
    const wrong = disagreement(kernel[key], truth[key], plain[key]);
    return wrong === undefined ? [] : [`${key}: ${wrong}`];
  });
}

/** For tasks that take less than `slowMs`, and for those that take more. */
const quick = { rounds: 5, time: 150, iterations: 2, warmupIterations: 1 };
const slow = { rounds: 3, time: 0, iterations: 1, warmupIterations: 0 };
const slowMs = 500;

async function measure<Size extends { readonly name: string }>(
  work: Work<Size>,
  size: Size,
  { threads, peers, env }: MeasureOptions,
): Promise<BenchRecord> {
  setNumThreads(threads);
  const ops = nativeOps(work);
  const cost = work.cost(size);
  const instance = work.build(size, float32);
  const tasks: Record<string, () => void> = { ours: () => instance.run(ops) };

  let floor: Floor | undefined;
  let floorFactor = 1;
  if (work.floor === undefined) {
    floor = await Floor.open(cost, threads);
    tasks["floor"] = () => floor?.run();
  } else if (work.floor !== "none") {
    const other = work.floor(size);
    if (other !== undefined) tasks["floor"] = () => other.instance.run(ops);
    floorFactor = other?.factor ?? 1;
  }
  const portable = openOps("cpu", { blas: false });
  if (work.portablePeer === true) tasks["portable"] = () => instance.run(portable);

  const { ours, floor: floorSamples = null, ...peerSamples } = sampleInTurns(tasks);
  await floor?.close();
  if (instance.runPlain !== undefined) peerSamples["plainJs"] = sampleAlone(() => instance.runPlain?.());
  const job = peers ? work.torch?.(size) : undefined;
  if (job !== undefined && env.peers["torch"] !== undefined) peerSamples["torch"] = torchSamples({ ...job, threads });

  return benchRecord({
    op: work.variant === undefined ? work.op : `${work.op} (${work.variant})`,
    shape: work.shape(size),
    dtype: "f32",
    device: "cpu",
    threads,
    bytes: cost.readBytes + cost.writtenBytes,
    flops: cost.flops,
    samples: ours,
    floorSamples,
    floorFactor,
    peerSamples,
    env,
  });
}

/**
 * Milliseconds of every call. The tasks take turns, several times around, so that what else the machine does meets them
 * alike.
 */
function sampleInTurns(tasks: Readonly<Record<string, () => void>>): Record<string, readonly number[]> {
  const samples: Record<string, number[]> = Object.fromEntries(Object.keys(tasks).map((name) => [name, []]));
  const longest = Math.max(...Object.values(tasks).map(firstCallMs));
  const { rounds, ...sampling } = longest < slowMs ? quick : slow;
  for (let round = 0; round < rounds; round++) {
    for (const [name, task] of Object.entries(tasks)) samples[name].push(...sample(name, task, sampling));
  }
  return samples;
}

/** For what is not compared with a floor, and may be slow. */
function sampleAlone(task: () => void): readonly number[] {
  const sampling = firstCallMs(task) < slowMs ? { ...quick, iterations: 5 } : { ...slow, iterations: 2 };
  return sample("alone", task, sampling);
}

/** The first call of a task: its memory is touched, its code compiled. */
function firstCallMs(task: () => void): number {
  const start = performance.now();
  task();
  return performance.now() - start;
}

interface Sampling {
  readonly time: number;
  readonly iterations: number;
  readonly warmupIterations: number;
}

function sample(name: string, task: () => void, { time, iterations, warmupIterations }: Sampling): readonly number[] {
  const warmup = warmupIterations > 0;
  const options = { time, iterations, warmup, warmupIterations, warmupTime: 0, retainSamples: true, throws: true };
  const bench = new Bench(options).add(name, task);
  const [{ result }] = bench.runSync();
  if (result.state !== "completed") throw new Error(`${name}: expected a completed run, it is ${result.state}`);
  if (result.latency.samples === undefined) throw new Error(`${name}: expected samples, received none`);
  return result.latency.samples;
}
