/** The procedural tasks by name, for a configuration and for programs. */

import { arithmetic } from "./arithmetic.ts";
import { brackets } from "./brackets.ts";
import { countdown } from "./countdown.ts";
import { linearEquations } from "./linear-equations.ts";
import { multiplication } from "./multiplication.ts";
import type { ProceduralTask } from "./procedural-task.ts";
import { swaps } from "./swaps.ts";

export const proceduralTaskNames = [
  "arithmetic",
  "multiplication",
  "countdown",
  "linear-equations",
  "brackets",
  "swaps",
] as const;
export type ProceduralTaskName = (typeof proceduralTaskNames)[number];

export const proceduralTasks: Readonly<Record<ProceduralTaskName, ProceduralTask>> = {
  arithmetic,
  multiplication,
  countdown,
  "linear-equations": linearEquations,
  brackets,
  swaps,
};
