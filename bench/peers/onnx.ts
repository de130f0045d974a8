/** ONNX Runtime, where `onnxruntime-node` is installed beside this package: the same work as a graph, on its CPU provider. */

import type { Contestant, Sampling } from "../turns.ts";
import { logprobsModel } from "./onnx-model.ts";

/** log_softmax and a gather of one target per row, on the caller's arrays. */
export interface OnnxJob {
  readonly rows: number;
  readonly vocabulary: number;
  readonly logits: Float32Array;
  readonly targets: Int32Array;
}

/** What is used of onnxruntime-node. */
interface Runtime {
  readonly env: { readonly versions: { readonly node?: string; readonly common: string } };
  readonly Tensor: new (type: string, data: Float32Array | BigInt64Array, shape: readonly number[]) => unknown;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<Session>;
  };
}

interface Session {
  run(feeds: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, { readonly data: Float32Array }>>>;
  release(): Promise<void>;
}

const packageName = "onnxruntime-node";

async function load(): Promise<Runtime | undefined> {
  try {
    return (await import(packageName)) as Runtime;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

/** Its version; undefined where it is not installed. */
export async function onnxVersion(): Promise<string | undefined> {
  const runtime = await load();
  return runtime === undefined ? undefined : (runtime.env.versions.node ?? runtime.env.versions.common);
}

/** The graph in a session of its own; `logprobs` is what its latest call gave. */
export class OnnxSubject implements Contestant {
  readonly #session: Session;
  readonly #feeds: Readonly<Record<string, unknown>>;
  logprobs: Float32Array = new Float32Array(0);

  private constructor(session: Session, feeds: Readonly<Record<string, unknown>>) {
    this.#session = session;
    this.#feeds = feeds;
  }

  static async open({ rows, vocabulary, logits, targets }: OnnxJob, threads: number): Promise<OnnxSubject> {
    const runtime = await load();
    if (runtime === undefined) throw new Error(`bench: expected ${packageName} to be installed`);
    const options = { executionProviders: ["cpu"], intraOpNumThreads: threads, interOpNumThreads: 1 };
    const session = await runtime.InferenceSession.create(logprobsModel(rows, vocabulary), options);
    return new OnnxSubject(session, {
      logits: new runtime.Tensor("float32", logits, [rows, vocabulary]),
      targets: new runtime.Tensor("int64", BigInt64Array.from(targets, BigInt), [rows, 1]),
    });
  }

  async sample({ time, iterations }: Sampling): Promise<readonly number[]> {
    const samples: number[] = [];
    for (let spent = 0; samples.length < iterations || spent < time;) {
      const start = performance.now();
      const { logprobs } = await this.#session.run(this.#feeds);
      samples.push(performance.now() - start);
      spent += samples[samples.length - 1];
      this.logprobs = logprobs.data;
    }
    return samples;
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}
