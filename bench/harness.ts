/** How a subject is checked and timed. */

import { openOps, setNumThreads } from "../src/ops/native.ts";
import type { Ops } from "../src/ops/ops.ts";
import { reference } from "../src/ops/reference.ts";
import type { Make, Outcome } from "../test/support/cases/op-case.ts";
import { float32, float64 } from "../test/support/cases/op-case.ts";
import type { BenchEnvironment, BenchRecord } from "../test/support/timing.ts";
import { benchRecord, disagreement } from "../test/support/timing.ts";
import { Floor, type Traffic } from "./floors.ts";
import { OnnxSubject, type OnnxJob } from "./peers/onnx.ts";
import { PythonSubject, type PythonJob } from "./peers/python.ts";
import { inProcess, sampleAlone, sampleInTurns, type Contestant } from "./turns.ts";

/** Arrays of one size, and one call on them. */
export interface Instance {
  /** The call; a promise is waited for where the call is checked, and the work is done when `run` returns. */
  run(ops: Ops): unknown;
  /** The same call in plain loops over typed arrays; absent where that would take minutes. */
  runPlain?(): void;
  /** The same call for ONNX Runtime. */
  onnx?(): OnnxJob;
  /** what the latest call wrote */
  outcome(): Outcome;
}

/** What a size costs. */
export interface Cost extends Traffic {
  /** multiplications and additions of the formula; 0 where memory is the only cost that counts */
  readonly flops: number;
}

type Products = Omit<PythonJob, "threads">;
interface OtherWork {
  readonly instance: Instance;
  readonly factor: number;
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
  /**
   * the floor: moving the bytes (default), none, or, by size: the bare matrix products by OpenBLAS (a subject of sgemm.py),
   * other work times a factor, or none
   */
  readonly floor?: "none" | ((size: Size) => Products | OtherWork | undefined);
  /** default f32 */
  readonly dtype?: string;
  /** also time the portable matrix product, as a peer */
  readonly portablePeer?: boolean;
  /** the same for PyTorch */
  torch?(size: Size): Omit<PythonJob, "threads">;
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
  check(): Promise<readonly string[]>;
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

async function check<Size extends { readonly name: string }>(work: Work<Size>): Promise<string[]> {
  const outcome = async (ops: Ops, make: Make): Promise<Outcome> => {
    const instance = work.build(work.reduced, make);
    await instance.run(ops);
    return instance.outcome();
  };
  const kernel = await outcome(nativeOps(work), float32);
  const truth = await outcome(reference(), float64);
  const plain = await outcome(reference(Math.fround), float64);
  return Object.keys(truth).flatMap((key) => {
    const wrong = disagreement(kernel[key], truth[key], plain[key]);
    return wrong === undefined ? [] : [`${key}: ${wrong}`];
  });
}

async function measure<Size extends { readonly name: string }>(
  work: Work<Size>,
  size: Size,
  { threads, peers, env }: MeasureOptions,
): Promise<BenchRecord> {
  setNumThreads(threads);
  const ops = nativeOps(work);
  const cost = work.cost(size);
  const instance = work.build(size, float32);
  const contestants: Record<string, Contestant> = { ours: inProcess(() => void instance.run(ops)) };
  const floor = await openFloor(work, size, threads, env);
  if (floor !== undefined) contestants["floor"] = floor.contestant;
  const portable = openOps("cpu", { blas: false });
  if (work.portablePeer === true) contestants["portable"] = inProcess(() => void instance.run(portable));
  const torch = peers && env.peers["torch"] !== undefined ? work.torch?.(size) : undefined;
  if (torch !== undefined) contestants["torch"] = await PythonSubject.open("./torch_ops.py", { ...torch, threads });
  const onnx = peers && env.peers["onnxruntime"] !== undefined ? instance.onnx?.() : undefined;
  if (onnx !== undefined) contestants["onnxruntime"] = await OnnxSubject.open(onnx, threads);

  const { ours, floor: floorSamples = null, ...peerSamples } = await sampleInTurns(contestants);
  for (const contestant of Object.values(contestants)) await contestant.close?.();
  if (peers && instance.runPlain !== undefined) peerSamples["plainJs"] = sampleAlone(() => instance.runPlain?.());

  return benchRecord({
    op: work.variant === undefined ? work.op : `${work.op} (${work.variant})`,
    shape: work.shape(size),
    dtype: work.dtype ?? "f32",
    device: "cpu",
    threads,
    bytes: cost.readBytes + cost.writtenBytes,
    flops: cost.flops,
    samples: ours,
    floorSamples,
    floorFactor: floor?.factor ?? 1,
    peerSamples,
    env,
  });
}

/** The floor as a contestant, and what its times are multiplied by; undefined where there is none. */
async function openFloor<Size extends { readonly name: string }>(
  work: Work<Size>,
  size: Size,
  threads: number,
  env: BenchEnvironment,
): Promise<{ readonly contestant: Contestant; readonly factor: number } | undefined> {
  if (work.floor === "none") return undefined;
  if (work.floor === undefined) {
    const streams = await Floor.open(work.cost(size), threads);
    return { contestant: { ...inProcess(() => streams.run()), close: () => streams.close() }, factor: 1 };
  }
  const floor = work.floor(size);
  if (floor === undefined) return undefined;
  if ("instance" in floor) {
    const ops = nativeOps(work);
    return { contestant: inProcess(() => void floor.instance.run(ops)), factor: floor.factor };
  }
  if (env.peers["openblas"] === undefined) return undefined;
  return { contestant: await PythonSubject.open("./sgemm.py", { ...floor, threads }), factor: 1 };
}
