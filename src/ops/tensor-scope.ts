/** Tensors that live as long as a piece of the program. */

import type { Dtype, Floats, Typed } from "./arguments/values.ts";
import { Tensor } from "./tensor.ts";

export interface TensorScope {
  /** As `Tensor.allocate`; disposed of when the scope ends. */
  allocate(shape: readonly number[], dtype?: Dtype): Tensor;
  /** As `Tensor.from`; disposed of when the scope ends. */
  from(numbers: Floats | Typed | readonly number[], shape?: readonly number[], dtype?: Dtype): Tensor;
  /** Takes a tensor from elsewhere into the scope. */
  add(tensor: Tensor): Tensor;
  /** Lets a tensor outlive the scope. */
  keep(tensor: Tensor): Tensor;
}

/**
 * Runs `body`, and disposes of the tensors of its scope when it returns or throws, or when its promise settles: all but those
 * that were kept and those that are returned, alone or in arrays and plain objects.
 */
export function tensorScope<R>(body: (scope: TensorScope) => R): R {
  const owned = new Set<Tensor>();
  const own = (tensor: Tensor): Tensor => {
    owned.add(tensor);
    return tensor;
  };
  const end = (returned: unknown): void => {
    for (const tensor of tensorsIn(returned)) owned.delete(tensor);
    for (const tensor of owned) tensor.dispose();
    owned.clear();
  };
  const scope: TensorScope = {
    allocate: (shape, dtype) => own(Tensor.allocate(shape, dtype)),
    from: (numbers, shape, dtype) => own(Tensor.from(numbers, shape, dtype)),
    add: own,
    keep(tensor) {
      owned.delete(tensor);
      return tensor;
    },
  };
  let result: R;
  try {
    result = body(scope);
  } catch (error) {
    end(undefined);
    throw error;
  }
  if (!isPromise(result)) {
    end(result);
    return result;
  }
  return result.then(
    (value) => {
      end(value);
      return value;
    },
    (error: unknown) => {
      end(undefined);
      throw error;
    },
  ) as R;
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function tensorsIn(value: unknown, seen = new Set<unknown>()): Tensor[] {
  if (value instanceof Tensor) return [value];
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || seen.has(value)) return [];
  seen.add(value);
  const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  return plain ? Object.values(value).flatMap((inner: unknown) => tensorsIn(inner, seen)) : [];
}
