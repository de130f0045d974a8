/** Finds and loads the native addon: a prebuilt one, else the one that `npm install` compiled. */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A kernel as the addon exposes it: one object of named arrays and numbers, outputs written in place. */
export type NativeOp = (args: Readonly<Record<string, unknown>>) => void;

/** A promise call of a kernel. */
export interface StartedCall {
  /** rejected where the kernel failed or was cancelled, and where an output cannot be written any more */
  readonly settled: Promise<void>;
  cancel(): void;
}

/**
 * Begins a promise call.
 *
 * @param name how errors call the op
 * @param given the arrays that the caller passed; others among `args` were made for the call
 */
export type NativeStart = (
  args: Readonly<Record<string, unknown>>,
  name: string,
  given: readonly ArrayBufferView[],
) => StartedCall;

/** An ArrayBuffer on memory of the library's own. */
export interface NativeMemory {
  readonly buffer: ArrayBuffer;
  /** Detaches the buffer. The memory is freed when no running call uses it. */
  release(buffer: ArrayBuffer): void;
}

/** The kernels of a backend, by their C name. */
export interface NativeKernels {
  readonly ops: Readonly<Record<string, NativeOp>>;
  /** the same as promise calls */
  readonly starters: Readonly<Record<string, NativeStart>>;
}

/** A device of a plug-in. */
export interface NativeDevice {
  readonly name: string;
  readonly architecture: string;
  readonly memoryBytes: number;
  readonly multiprocessors: number;
  /** once in an environment */
  open(): NativeKernels & { readonly memory: NativeDeviceMemory };
}

/** An event of a device: an external value. */
export type NativeEvent = object;

/** Memory of a device, for which objects stand. */
export interface NativeDeviceMemory {
  /** makes `target` stand for zeroed memory; a RangeError where there is none */
  allocate(target: object, bytes: number, dtype: number, length: number): void;
  /** makes `target` stand for `length` elements of the memory of another, from `begin` */
  view(target: object, of: object, begin: number, length: number): void;
  upload(target: object, array: Float32Array | Uint16Array): void;
  download(target: object, array: Float32Array | Uint16Array): void;
  clear(target: object): void;
  /** from memory of the same device and length, which it does not overlap, to the nearest of the target's type */
  copy(target: object, source: object): void;
  dispose(target: object): void;
  wait(): void;
  /**
   * makes `target` stand for memory that somebody else in the process owns; a RangeError where the device has none there
   *
   * @returns a promise that is resolved when the memory goes back
   */
  borrow(target: object, pointer: bigint, bytes: number, dtype: number, length: number): Promise<void>;
  /** where the memory of `target` is; it stays until `letGo` was called as often */
  hold(target: object): { readonly pointer: bigint; readonly byteOffset: number };
  letGo(target: object): void;
  /** as `hold`, for another process; waits for the calls before */
  share(target: object): { readonly handle: Uint8Array; readonly byteOffset: number };
  /** makes `target` stand for memory of another process */
  open(target: object, handle: Uint8Array, byteOffset: number, dtype: number, length: number): void;
  /** calls that come later begin when what is on the stream now is done */
  follow(stream: bigint): void;
  /** what the stream gets from now on begins when the calls before have ended */
  precede(stream: bigint): void;
  /** of the calls of this thread */
  stream(): bigint;
  /** an event, and the handle by which another process opens it; it stays until `closeEvent` */
  makeEvent(): { readonly event: NativeEvent; readonly handle: Uint8Array };
  openEvent(handle: Uint8Array): NativeEvent;
  closeEvent(event: NativeEvent): void;
  /** marks the calls before */
  recordEvent(event: NativeEvent): void;
  /** calls that come later begin when what was marked last is done */
  waitForEvent(event: NativeEvent): void;
}

/** A plug-in that was looked for. */
export interface NativePlugin {
  readonly status: "not-built" | "load-failed" | "abi-mismatch" | "present-no-device" | "ready";
  /** why it is not ready */
  readonly why: string;
  readonly build: string;
  /** null where it was not loaded */
  readonly cublaslt: { readonly used: boolean; readonly why: string } | null;
  readonly devices: readonly NativeDevice[];
}

export interface Addon {
  /** per instruction set, the best first; the ops by their C name */
  readonly backends: Readonly<Record<string, Readonly<Record<string, NativeOp>>>>;
  /** the same ops as promise calls */
  readonly starters: Readonly<Record<string, Readonly<Record<string, NativeStart>>>>;
  /** loads a library of a backend, once for the process */
  loadPlugin(path: string): NativePlugin;
  /** zeroed memory, aligned to 64 bytes; null where the engine allows no buffers on foreign memory */
  allocate(bytes: number): NativeMemory | null;
  /** bytes of such memory that are not freed yet, of all threads of the process */
  tensorBytes(): number;
  /** the index of the first element outside least … most, or −1 */
  firstOutside(values: Int32Array, least: number, most: number): number;
  numThreads(): number;
  setNumThreads(threads: number): void;
  blasName(): string | null;
  blasEnabled(): boolean;
}

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Where the addon may lie, in order of preference. */
export const addonPaths: readonly string[] = [
  join(root, "build", "Release", "stepcredit.node"),
  join(root, "prebuilds", `${process.platform}-${process.arch}`, "stepcredit.node"),
];

// Not `npm rebuild`: it leaves alone what was built from the same sources, even where it does not load here, and packages
// whose install scripts are not allowed.
const remedy = "Run `npx stepcredit build`; it needs python3, make and a C++17 compiler.";

let loaded: Addon | undefined;

/** The addon, loaded at the first call and not before: what needs no op runs without it. Throws where it is missing or broken. */
export function loadAddon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  const path = addonPaths.find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new Error(`stepcredit: the native addon is missing (looked for ${addonPaths.join(", ")}). ${remedy}`);
  }
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`stepcredit: the native addon ${path} cannot be loaded: ${reason}. ${remedy}`, { cause: error });
  }
}
