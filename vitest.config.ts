// How the tests run: the sources as they are (condition `vblk-source`), one process a file.
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { SkipReporter } from "./test/support/skip-reporter.ts";

/** Where to write the results as JSON, for a program to count; nowhere by default. */
const resultsFile = process.env["VBLK_TEST_RESULTS"];

const config: ViteUserConfig = defineConfig({
  ssr: { resolve: { conditions: ["vblk-source", "node"], externalConditions: ["vblk-source", "node"] } },
  resolve: { conditions: ["vblk-source", "node"] },
  test: {
    include: ["test/**/*.test.ts"],
    // A guest with a kernel of its own takes minutes, and packages from Debian: npm run test:linux.
    exclude: ["test/fixtures/**", ...(process.env["VBLK_LINUX"] === "1" ? [] : ["test/linux/**"])],
    testTimeout: 60_000,
    pool: "forks",
    maxWorkers: 2,
    reporters: [
      "default",
      new SkipReporter(),
      ...(resultsFile === undefined ? [] : [["json", { outputFile: resultsFile }] as ["json", { outputFile: string }]]),
    ],
  },
});

export default config;
