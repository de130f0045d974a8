/** The CUDA backend compiled for the host, as a plug-in, and the one for devices. */

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import type { DeviceTensor } from "../../src/ops/device-tensor.ts";

/** Device code on the host is written for Linux. */
export const runsOnHost = process.platform === "linux";

/** Compiles the plug-in for the host where its sources have changed, and gives its path. */
export function hostPlugin(): string {
  const script = fileURLToPath(new URL("../../scripts/build-cuda-host.mjs", import.meta.url));
  return execFileSync(process.execPath, [script], { encoding: "utf8" }).trim();
}

/** The ops of a device, and the bytes of what their memory made and nobody has disposed of. */
export function countingMemory(ops: DeviceOps): { readonly ops: DeviceOps; readonly liveBytes: () => number } {
  const made: DeviceTensor[] = [];
  const counted = (tensor: DeviceTensor): DeviceTensor => {
    made.push(tensor);
    return tensor;
  };
  const { memory } = ops;
  return {
    ops: {
      ...ops,
      memory: {
        ...memory,
        allocate: (...given) => counted(memory.allocate(...given)),
        from: (...given) => counted(memory.from(...given)),
      },
    },
    liveBytes: () =>
      made.reduce((sum, { disposed, length, dtype }) => sum + (disposed ? 0 : length * (dtype === "f32" ? 4 : 2)), 0),
  };
}
