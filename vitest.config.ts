// How the tests run: the sources as they are (condition `vblk-source`), one process a file.
import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  ssr: { resolve: { conditions: ["vblk-source", "node"], externalConditions: ["vblk-source", "node"] } },
  resolve: { conditions: ["vblk-source", "node"] },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    pool: "forks",
    maxWorkers: 2,
  },
});

export default config;
