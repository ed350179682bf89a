import type { Option } from "./call.ts";

/** Apart from the command: `--help` should not load what reads definitions. */
export const SNOWFLAKE_OPTIONS: readonly Option[] = [
  {
    flag: "table",
    placeholder: "NAME",
    help: "table in Snowflake, [[DATABASE.]SCHEMA.]TABLE; the delivery's name unless told",
  },
  { flag: "out", placeholder: "FILE", help: "write the script to a file instead of printing it" },
  {
    flag: "upload",
    placeholder: "",
    help: "take all files that are not loaded yet into Snowflake, with snowflake-sdk",
  },
];
