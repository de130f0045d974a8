import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A process per file: the addon starts its own threads and reads its environment once, when it is loaded.
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
