/** A call of a kernel that is yet to be made: what the sync and the promise forms of an op share. */

import type { Ops } from "../ops.ts";
import { Tensor } from "../tensor.ts";

/** Checked arguments of one kernel, and what its op returns once the kernel has run. */
export interface Call<R> {
  /** the kernel's name in the addon */
  readonly kernel: string;
  /** arrays and numbers by the names of the kernel's field table; arrays that may not be given are undefined */
  readonly fields: Readonly<Record<string, unknown>>;
  /** reads the arrays that the kernel has written; throws where their values say that the input was wrong */
  result(): R;
}

export function call<R>(kernel: string, fields: Readonly<Record<string, unknown>>, result: () => R): Call<R> {
  return { kernel, fields, result };
}

/** The result of an op that writes into its arguments and returns nothing. */
export const nothing = (): void => undefined;

/** An interface of ops with every op replaced by one that checks its arguments and gives the call. */
export type Plans<O> = {
  readonly [K in keyof O]: O[K] extends (args: infer A) => infer R ? (args: A) => Call<R> : Plans<O[K]>;
};

/** The plans of all kernels. */
export type KernelPlans = Plans<Omit<Ops, "name" | "allocate">>;

/**
 * An argument object with every property read once, the getters of options and typed numbers in it too: what a getter does, it
 * does before anything is checked. Everything else stays what it is.
 */
export function readOnce(args: object): object {
  const read: Record<string, unknown> = { ...args };
  for (const key of Object.keys(read)) {
    const value = read[key];
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || value instanceof Tensor) continue;
    if (Object.getPrototypeOf(value) !== Object.prototype) {
      if ("dtype" in value && "data" in value) read[key] = { dtype: value.dtype, data: value.data };
    } else if (Object.values(Object.getOwnPropertyDescriptors(value)).some(({ get }) => get !== undefined)) {
      read[key] = { ...value };
    }
  }
  return read;
}

/** The sync face of plans: every op runs its call and returns the result. */
export function syncOps(plans: KernelPlans, run: (call: Call<unknown>) => void): Omit<Ops, "name" | "allocate"> {
  const face = (plan: unknown): unknown => {
    if (typeof plan !== "function") return faces(plan as Readonly<Record<string, unknown>>);
    return (args: object): unknown => {
      const planned = (plan as (args: object) => Call<unknown>)(readOnce(args));
      run(planned);
      return planned.result();
    };
  };
  const faces = (group: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
    Object.fromEntries(Object.entries(group).map(([name, plan]) => [name, face(plan)]));
  return faces(plans) as unknown as Omit<Ops, "name" | "allocate">;
}
