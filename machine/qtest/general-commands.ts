// The qtest commands about the machine as a whole: docs/reference/monitor.md §7.

import { type QtestCommands, wordAt } from "./qtest-command.ts";

/** endianness, and module_load of modules that do not exist. */
export const generalCommands: QtestCommands = {
  endianness: () => "OK little",
  module_load: (words) => {
    wordAt(words, 1);
    wordAt(words, 2);
    return "FAIL";
  },
};
