/** Makes files executable: the compiler writes commands without that right, and `npx` in this folder does not always set it. */

import { chmod } from "node:fs/promises";

await Promise.all(process.argv.slice(2).map((file) => chmod(file, 0o755)));
