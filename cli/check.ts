import { checkStreams, formatCheck } from "../pipeline/plan/check.ts";
import { Exit } from "./exit.ts";
import { projectPath } from "./paths.ts";

/** `tailrace check`: a table of the definitions, or all that is wrong with them. */
export async function check(): Promise<number> {
  const report = await checkStreams(projectPath("streams"));
  console.log(formatCheck(report));
  return report.faults.length === 0 ? Exit.ok : Exit.misconfigured;
}
