/** The promise face of plans: every op runs on the library's threads while JavaScript goes on. */

import type { NativeStart } from "../addon.ts";
import type { Ops } from "../ops.ts";
import { Tensor } from "../tensor.ts";
import { readOnce, type Call, type KernelPlans } from "./call.ts";

export interface CallOptions {
  /** Stops the call after the chunks that it has begun; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** An interface of ops with every op replaced by its promise form. */
export type Promises<O> = {
  readonly [K in keyof O]: O[K] extends (args: infer A) => infer R
    ? (args: A, options?: CallOptions) => Promise<R>
    : Promises<O[K]>;
};

/**
 * Every op as a call that does not keep the event loop waiting. The argument is that of the sync form; wrong arguments reject
 * the promise. Several calls may run at once.
 *
 * Arrays on ordinary ArrayBuffers are copied when the call starts, and outputs are copied back when it settles: until then
 * their contents are as they were, the caller may overwrite or transfer away what was passed, and an output that was detached
 * or shrunk rejects the promise. The memory of a `Tensor` and shared memory are used in place: nothing is copied, what is
 * written shows at any time, and what another thread writes meanwhile may be read.
 *
 * A call that was aborted leaves arrays on ordinary ArrayBuffers as they were, and memory used in place partly written.
 */
export type PromiseOps = Promises<Omit<Ops, "name" | "allocate">>;

/** The promise face of plans. `start` begins the call of a kernel. */
export function promiseOps(plans: KernelPlans, start: (kernel: string) => NativeStart): PromiseOps {
  const face = (name: string, plan: unknown): unknown => {
    if (typeof plan !== "function") return faces(`${name}.`, plan as Readonly<Record<string, unknown>>);
    return async (given: object, { signal }: CallOptions = {}): Promise<unknown> => {
      checkSignal(name, signal);
      signal?.throwIfAborted();
      const args = readOnce(given);
      const planned = (plan as (args: object) => Call<unknown>)(args);
      const call = start(planned.kernel)(planned.fields, name, viewsOf(args));
      signal?.addEventListener("abort", call.cancel, { once: true });
      try {
        await call.settled;
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      } finally {
        signal?.removeEventListener("abort", call.cancel);
      }
      return planned.result();
    };
  };
  const faces = (prefix: string, group: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
    Object.fromEntries(Object.entries(group).map(([name, plan]) => [name, face(prefix + name, plan)]));
  return faces("", plans) as unknown as PromiseOps;
}

function checkSignal(name: string, signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new TypeError(`${name}: expected signal to be an AbortSignal, received ${typeof signal}`);
}

/** The arrays among the values of an argument object, and those of the options and typed numbers in it. */
function viewsOf(args: object): ArrayBufferView[] {
  return Object.values(args).flatMap((value: unknown) => {
    if (ArrayBuffer.isView(value)) return [value];
    if (value instanceof Tensor) return [value.data];
    return typeof value === "object" && value !== null ? viewsOf(value) : [];
  });
}
