/** The ops of a device, with arrays of the host in tensors that begin at the second element of their memory. */

import { DeviceTensor } from "../../src/ops/device-tensor.ts";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import type { Ops, Typed } from "../../src/ops/ops.ts";

type Placeable = Float32Array | Typed;
type Args = Readonly<Record<string, unknown>>;

/** Checked before the call, so it has to be an array of the host. */
const onHost = "temperature";

function isPlaceable(name: string, value: unknown): value is Placeable {
  if (name === onHost) return false;
  return value instanceof Float32Array || (typeof value === "object" && value !== null && "dtype" in value);
}

const dataOf = (value: Placeable) => (value instanceof Float32Array ? value : value.data);

/** Runs `op` with tensors for arrays, and copies what they hold afterwards back. */
function placed(ops: DeviceOps, op: (args: Args) => unknown, args: Args): unknown {
  const tensors = new Map<object, DeviceTensor>(); // by the array that they stand for
  const originals = new Map<DeviceTensor, Placeable>();
  const place = (value: Placeable): DeviceTensor => {
    const data = dataOf(value);
    const known = tensors.get(data);
    if (known !== undefined) return known;
    const dtype = value instanceof Float32Array ? "f32" : value.dtype;
    const tensor = ops.memory.allocate([data.length + 1], dtype).subarray(1, data.length + 1);
    tensor.upload(value);
    tensors.set(data, tensor);
    originals.set(tensor, value);
    return tensor;
  };
  const entries = Object.entries(args).map(([name, value]) => [name, isPlaceable(name, value) ? place(value) : value]);
  const result = op(Object.fromEntries(entries) as Args);
  for (const [tensor, original] of originals) dataOf(original).set(tensor.download());
  const restored = (value: unknown) => (value instanceof DeviceTensor ? originals.get(value) : value);
  if (typeof result !== "object" || result === null || result instanceof DeviceTensor || ArrayBuffer.isView(result))
    return restored(result);
  return Object.fromEntries(Object.entries(result).map(([name, value]) => [name, restored(value)]));
}

export function atOddPlaces(ops: DeviceOps): Ops {
  const wrap = (of: object): object =>
    Object.fromEntries(
      Object.entries(of).map(([name, value]: [string, unknown]) => {
        if (typeof value === "function")
          return [name, (args: Args) => placed(ops, (given) => (value as (args: Args) => unknown)(given), args)];
        return [name, typeof value === "object" && value !== null ? wrap(value) : value];
      }),
    );
  const { memory: _memory, promises: _promises, ...rest } = ops;
  return wrap(rest) as Ops;
}
