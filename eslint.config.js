import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  globalIgnores(["dist/", "build/", "runs/", "coverage/", "prebuilds/"]),
  {
    rules: {
      eqeqeq: ["error", "smart"],
      "no-console": "off",
      "no-unused-vars": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      // `noUncheckedIndexedAccess` is off, so an index that may miss has a type that cannot: the check would call it needless.
      "@typescript-eslint/no-unnecessary-condition": "off",
      // Error messages name whatever was received.
      "@typescript-eslint/no-base-to-string": "off",
      // The Ops are a record of functions, and none reads `this`.
      "@typescript-eslint/unbound-method": "off",
      // An interface may be asynchronous where one implementation has nothing to wait for.
      "@typescript-eslint/require-await": "off",
    },
  },
  {
    // The reference reads optional inputs where the presence of another one says that they are there.
    files: ["src/ops/reference/**/*.ts", "test/**/*.ts", "bench/**/*.ts"],
    rules: { "@typescript-eslint/no-non-null-assertion": "off" },
  },
);
