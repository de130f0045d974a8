/** Events between processes: one marks what its calls have done by then, the other's calls wait for it, and no host waits. */

import type { NativeDeviceMemory, NativeEvent } from "./addon.ts";
import { Check } from "./check.ts";

/** Where an event is. */
interface Place {
  readonly device: string;
  readonly memory: NativeDeviceMemory;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A CUDA event that two processes have; made by the `memory` of the ops of a device. Which of them has recorded it, and that it
 * has, they tell each other by other means: to wait for an event that nobody has recorded is to wait for nothing.
 */
export class DeviceEvent {
  /** such as cuda/0 */
  readonly device: string;
  readonly #memory: NativeDeviceMemory;
  readonly #handle: Uint8Array;
  #event: NativeEvent | undefined;

  private constructor({ device, memory }: Place, event: NativeEvent, handle: Uint8Array) {
    this.device = device;
    this.#memory = memory;
    this.#event = event;
    this.#handle = handle;
  }

  /** Of a device's `memory`; not for others. */
  static make(place: Place): DeviceEvent {
    try {
      const { event, handle } = place.memory.makeEvent();
      return new DeviceEvent(place, event, handle);
    } catch (error) {
      throw new Error(`memory.event: an event of ${place.device} cannot be made: ${reasonOf(error)}`, { cause: error });
    }
  }

  /** Of a device's `memory`; not for others. */
  static open(place: Place, handle: Uint8Array): DeviceEvent {
    const check = new Check("memory.openEvent");
    if (!(handle instanceof Uint8Array)) check.kind("handle", "a Uint8Array of length 64", handle);
    if (handle.length !== 64) check.fail("handle to be a Uint8Array of length 64", `length ${handle.length}`);
    const own = handle.slice();
    try {
      return new DeviceEvent(place, place.memory.openEvent(own), own);
    } catch (error) {
      throw new Error(`memory.openEvent: the event cannot be opened on ${place.device}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  }

  /** A `cudaIpcEventHandle_t`, 64 bytes: for `memory.openEvent` of another process. */
  get handle(): Uint8Array {
    return this.#handle.slice();
  }

  get disposed(): boolean {
    return this.#event === undefined;
  }

  /**
   * Marks the sync calls before; a promise call is to have settled. The other process is told afterwards: its `wait` is for what
   * was marked when it is called.
   */
  record(): void {
    this.#call("record", (event) => this.#memory.recordEvent(event));
  }

  /**
   * Sync calls that come later, and promise calls with tensors, begin when what was recorded last has ended on the device, in
   * whichever process. Returns at once.
   */
  wait(): void {
    this.#call("wait", (event) => this.#memory.waitForEvent(event));
  }

  /**
   * Gives the event back, which is not done by the garbage collector. The process that made it does so last: what another does
   * with it afterwards is undefined. May be called more than once.
   */
  dispose(): void {
    const event = this.#event;
    this.#event = undefined;
    if (event !== undefined) this.#memory.closeEvent(event);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #call(method: string, use: (event: NativeEvent) => void): void {
    if (this.#event === undefined) {
      throw new Error(`DeviceEvent.${method}: the event of ${this.device} has been disposed of`);
    }
    try {
      use(this.#event);
    } catch (error) {
      throw new Error(`DeviceEvent.${method}: failed on ${this.device}: ${reasonOf(error)}`, { cause: error });
    }
  }
}
