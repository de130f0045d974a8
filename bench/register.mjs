// Lets a process import TypeScript: `node --import ./bench/register.mjs file.ts`.
import { register } from "node:module";

process.setSourceMapsEnabled(true);
register("./typescript.mjs", import.meta.url);
