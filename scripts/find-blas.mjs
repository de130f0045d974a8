// Says which BLAS the build links, and how: `node scripts/find-blas.mjs kind | cflags | libs`.
import { execFileSync } from "node:child_process";

function pkgConfig(...args) {
  try {
    return execFileSync("pkg-config", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
}

const off = process.env.STEPCREDIT_BLAS === "off";
const openblas = !off && process.platform !== "darwin" && pkgConfig("--modversion", "openblas") !== null;

switch (process.argv[2]) {
  case "kind":
    console.log(off ? "none" : process.platform === "darwin" ? "accelerate" : openblas ? "openblas" : "none");
    break;
  case "cflags":
    console.log(openblas ? pkgConfig("--cflags", "openblas") : "");
    break;
  case "libs":
    console.log(openblas ? pkgConfig("--libs", "openblas") : "");
    break;
  default:
    console.error("usage: node scripts/find-blas.mjs kind|cflags|libs");
    process.exit(2);
}
