/** What the checks of the ops know of arrays on a device. */

import type { Dtype } from "./arguments/values.ts";

/** Numbers in memory that only a device reads and writes. */
export abstract class DeviceArray {
  /** such as cuda/0 */
  abstract readonly device: string;
  abstract readonly dtype: Dtype;
  /** how many numbers it holds */
  abstract readonly length: number;
  abstract readonly disposed: boolean;
}
