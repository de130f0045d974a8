import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A process per file: the addon starts its own threads and reads its environment once, when it is loaded.
    pool: "forks",
    // One more than Vitest would take: it leaves a core to itself, which on two cores is half of the machine.
    maxWorkers: availableParallelism(),
    // What hangs is stopped; how long a test takes on a busy machine is nothing that a test judges.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
