import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeDiagnosis } from "../../src/cli/doctor.ts";
import { diagnose } from "../../src/cli/diagnosis.ts";
import { cudaReport, openOps, type CudaReport } from "../../src/ops/index.ts";
import { hostPlugin, runsOnHost } from "../support/cuda.ts";
import { forgetAfterEach } from "../support/host-device.ts";
import { repository } from "../support/imports.ts";

const scratch = mkdtempSync(join(tmpdir(), "stepcredit-"));
afterAll(() => rmSync(scratch, { recursive: true }));
forgetAfterEach("STEPCREDIT_CUDA", "STEPCREDIT_CUDA_PLUGIN", "STEPCREDIT_SIMT_DEVICES");

/** A library compiled from a few lines of C++. */
function library(name: string, source: string): string {
  const file = join(scratch, `${name}.so`);
  const compiler = process.env["CXX"] ?? "g++";
  const include = ["-I", join(repository, "native"), "-x", "c++", "-", "-o", file];
  const { status, stderr } = spawnSync(compiler, ["-std=c++17", "-shared", "-fPIC", ...include], {
    input: source,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${compiler}: ${stderr}`);
  return file;
}

/** A plug-in whose table says what is given; its functions are null. */
const plugin = (name: string, table: string): string =>
  library(
    name,
    `#include "backend.h"
     static ScBackend ops = {kScAbiVersion, sizeof(ScBackend), "cuda"};
     static ScPlugin plugin = {kScAbiVersion, sizeof(ScPlugin), "a test", &ops};
     extern "C" const ScPlugin* stepcredit_plugin() { ${table}; return &plugin; }`,
  );

/** What is reported of a plug-in, by every face that reports it. */
function report(path: string): CudaReport {
  process.env["STEPCREDIT_CUDA_PLUGIN"] = path;
  const reported = cudaReport();
  const lines = describeDiagnosis(diagnose()).join("\n");
  expect(lines).toContain(`CUDA          ${reported.status}`);
  if (reported.status === "ready") return reported;
  expect(lines).toContain(`: ${reported.why}\n`);
  expect(lines).toContain(`remedy: ${reported.remedy}\n`);
  expect(reported.devices).toEqual([]);
  expect(() => openOps("cuda")).toThrow(
    `openOps: CUDA is ${reported.status}: ${reported.why}. Remedy: ${reported.remedy}.`,
  );
  return reported;
}

const buildAgain = /`npx stepcredit build --cuda`/;

describe.skipIf(!runsOnHost)("the CUDA plug-in", () => {
  let host: string;
  beforeAll(() => {
    host = hostPlugin();
  });

  it("is not built where there is no file", () => {
    const missing = join(scratch, "none.so");
    expect(report(missing)).toMatchObject({ status: "not-built", why: `there is no file ${missing}`, path: missing });
    expect(report(missing).remedy).toMatch(buildAgain);
  });

  it("cannot be loaded where the file is no library, or a library without the entry", () => {
    const text = join(scratch, "text.so");
    writeFileSync(text, "not a library");
    expect(report(text)).toMatchObject({ status: "load-failed", why: expect.stringContaining(text) as string });
    const other = library("other", "int nothing;");
    expect(report(other)).toMatchObject({ status: "load-failed", why: `${other} has no symbol stepcredit_plugin` });
    expect(report(other).remedy).toMatch(buildAgain);
    const unresolved = library("unresolved", `extern "C" void nowhere(); void calls() { nowhere(); }`);
    expect(report(unresolved)).toMatchObject({
      status: "load-failed",
      why: expect.stringContaining("nowhere") as string,
    });
  });

  it("does not match another version of the tables, or tables of another size", () => {
    const newer = report(plugin("newer", "plugin.abi_version = kScAbiVersion + 1"));
    expect(newer.status).toBe("abi-mismatch");
    expect(newer.why).toMatch(/^the plug-in has ABI version (\d+) with \d+ bytes, this addon has ABI version \d+ with/);
    expect(newer.remedy).toMatch(/from the same version/);
    expect(report(plugin("longer", "plugin.table_bytes = sizeof(ScPlugin) + 8")).status).toBe("abi-mismatch");
    const ops = report(plugin("ops", "ops.table_bytes = sizeof(ScBackend) - 8"));
    expect(ops).toMatchObject({ status: "abi-mismatch", why: expect.stringContaining("table of ops") as string });
    expect(report(plugin("null", "return nullptr"))).toMatchObject({
      status: "abi-mismatch",
      why: "it gives no table",
    });
  });

  it("may be there without a device", () => {
    process.env["STEPCREDIT_SIMT_DEVICES"] = "0";
    const without = report(host);
    expect(without).toMatchObject({ status: "present-no-device", build: "device code on the host, for tests" });
    expect(without.why).toMatch(/no device: .*\(cudaErrorNoDevice\)/);
    expect(without.remedy).toMatch(/driver/);
  });

  it("is ready where there is one, and looks again at what it did not find before", () => {
    process.env["STEPCREDIT_SIMT_DEVICES"] = "0";
    expect(report(host).status).toBe("present-no-device");
    delete process.env["STEPCREDIT_SIMT_DEVICES"];
    const ready = report(host);
    expect(ready).toMatchObject({ status: "ready", why: "", remedy: "", path: host });
    expect(ready.devices).toMatchObject([{ index: 0, name: "device code on the host", architecture: "sm_00" }]);
    expect(describeDiagnosis(diagnose()).join("\n")).toMatch(/cuda\/0 device code on the host: sm_00, \d+ multiproc/);
    expect(openOps("cuda").name).toBe("cuda/0 device code on the host");
  });

  it("says whether products go to cuBLASLt, and why not, wherever it was loaded", () => {
    const here = report(host);
    expect(here.cublaslt).toEqual({ used: false, why: "device code runs on the host" });
    expect(describeDiagnosis(diagnose()).join("\n")).toContain(
      "products of matrices take the plug-in's own kernel, cuBLASLt is not used: device code runs on the host",
    );
    expect(report(join(scratch, "none.so")).cublaslt).toBeNull();
    expect(describeDiagnosis(diagnose()).join("\n")).not.toContain("cuBLASLt");
    process.env["STEPCREDIT_SIMT_DEVICES"] = "0";
    expect(report(host).cublaslt).toEqual(here.cublaslt);
  });

  it("names cuBLASLt where a plug-in uses it", () => {
    const used = plugin(
      "blas",
      `plugin.count_devices = [](int32_t* devices, ScError*) -> int32_t { *devices = 0; return 0; };
       plugin.find_cublaslt = [](ScError*) -> int32_t { return 0; }`,
    );
    expect(report(used).cublaslt).toEqual({ used: true, why: "" });
    expect(describeDiagnosis(diagnose()).join("\n")).toContain("products of matrices go to cuBLASLt");
  });

  it("is not touched where STEPCREDIT_CUDA is off", () => {
    process.env["STEPCREDIT_CUDA"] = "off";
    expect(report(host)).toMatchObject({
      status: "off",
      why: "STEPCREDIT_CUDA is off",
      remedy: "unset STEPCREDIT_CUDA",
    });
  });

  it("exports its entry and nothing else", () => {
    const { status, stdout } = spawnSync("nm", ["-D", "--defined-only", host], { encoding: "utf8" });
    expect([status, stdout.trim().split(/\s+/).slice(1)]).toEqual([0, ["T", "stepcredit_plugin"]]);
  });
});
