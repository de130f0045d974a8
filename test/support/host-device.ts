/** What tests of device code on the host begin with and leave behind: the plug-in, and variables of the environment. */

import { afterAll, afterEach, beforeAll } from "vitest";
import { hostPlugin, runsOnHost } from "./cuda.ts";

function unset(names: readonly string[]): void {
  for (const name of names) Reflect.deleteProperty(process.env, name);
}

/**
 * Before the tests of a file or a `describe`, compiles the plug-in for the host, sets `environment` beside the name of the
 * plug-in, and calls `open`; none of it where device code does not run on the host. After them the variables are gone.
 */
export function onHostDevice(open: () => void, environment: Readonly<Record<string, string>> = {}): void {
  const variables = { STEPCREDIT_CUDA_PLUGIN: "", ...environment };
  beforeAll(() => {
    if (!runsOnHost) return;
    Object.assign(process.env, variables, { STEPCREDIT_CUDA_PLUGIN: hostPlugin() });
    open();
  });
  afterAll(() => unset(Object.keys(variables)));
}

/** Forgets, after each test, variables of the environment that tests set. */
export function forgetAfterEach(...names: readonly string[]): void {
  afterEach(() => unset(names));
}

/** Two devices of the host. */
export const twoDevices = { STEPCREDIT_SIMT_DEVICES: "2" };

/** Arguments of `scatterAdvantages`, and what it makes of them: the op of tests that are about memory. */
export const credits = Float32Array.of(1, -1, 2, -2, 3, -3);
export const stepOf = Int32Array.of(2, -1, 0, 1, 1);
export const scattered = Float32Array.of(3, -3, 0, 0, 1, -1, 2, -2, 2, -2);
