// npm run bench [-- names…]
import "./register.mjs";

await import("./main.ts");
