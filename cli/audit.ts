/**
 * Whether results are what their topics' records give, asked of a running Tailrace through its API: `tailrace audit`.
 *
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { auditRepairSchema, auditSchema, differencesSchema } from "../api/audit_schemas.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { table, terminalWidth } from "./table.ts";

type Audit = z.infer<typeof auditSchema>;
type Differences = z.infer<typeof differencesSchema>;
type Repair = z.infer<typeof auditRepairSchema>;

const SHOWN_MAX = 50;

export const AUDIT_OPTIONS: readonly Option[] = [
  { flag: "json", placeholder: "", help: "JSON instead of tables" },
  API_OPTION,
];

const count = new Intl.NumberFormat("en-US");

/** `tailrace audit [PIPELINE | repair PIPELINE]`; ends with 1 when something differs. */
export async function audit({ flags, positionals, signal }: Call): Promise<number> {
  const [first, name] = positionals;
  if (positionals.length > 2 || positionals.length === 2 && first !== "repair") {
    throw new ConfigError({ where: "tailrace audit", problem: "takes PIPELINE or repair PIPELINE" });
  }
  if (first === "repair" && name === undefined) {
    throw new ConfigError({ where: "tailrace audit repair", problem: "PIPELINE is missing" });
  }
  const api = new ApiClient({ url: flags.api, signal });
  const isJson = flags.json !== undefined;
  if (name !== undefined) return repaired(await api.post<Repair>(`${pathOf(name)}/repair`, {}), isJson);
  const told = await api.get<Audit>("/v1/audit");
  if (first === undefined) return all(told, isJson);
  const differences = await api.get<Differences>(`${pathOf(first)}/differences?limit=${SHOWN_MAX}`);
  return one(told.pipelines.find(({ pipeline }) => pipeline === first)!, differences, isJson);
}

function pathOf(pipeline: string): string {
  return `/v1/audit/${encodeURIComponent(pipeline)}`;
}

function all(told: Audit, isJson: boolean): number {
  const isRight = told.pipelines.every(({ windows }) => windows.differing === 0);
  if (isJson) console.log(JSON.stringify(told));
  else if (told.pipelines.length === 0) {
    console.log("Nothing is audited: archive: lake() on a topic keeps the records that its pipelines are audited by.");
  } else {
    const rows = told.pipelines.map(({ pipeline, state, windows, rows, differences, lastPassAt, reason }) => [
      pipeline,
      state,
      count.format(windows.agreeing),
      count.format(windows.differing),
      count.format(differences.reduce((sum, { wrong, missing, extra }) => sum + wrong + missing + extra, 0)),
      count.format(windows.notAuditable.reduce((sum, { windows }) => sum + windows, 0)),
      count.format(rows),
      lastPassAt ?? "",
      reason ?? windows.notAuditable[0]?.reason ?? "",
    ]);
    const head = ["pipeline", "state", "agree", "differ", "rows differ", "not audited", "compared", "last pass", "why"];
    console.log(table(head, rows, { width: terminalWidth(), numbers: [2, 3, 4, 5, 6] }));
  }
  return isRight ? Exit.ok : Exit.failed;
}

function one(told: Audit["pipelines"][number], { differences }: Differences, isJson: boolean): number {
  if (isJson) console.log(JSON.stringify({ ...told, rows: differences }));
  else {
    all({ pipelines: [told] }, false);
    if (differences.length > 0) {
      const rows = differences.map(({ window, kind, name, difference, columns, expected, actual }) => {
        const shown = (row: typeof expected) =>
          row === null ? "none" : JSON.stringify(Object.fromEntries(columns.map((column) => [column, row[column]])));
        const key = Object.entries(expected ?? actual ?? {});
        const named = key.slice(0, key.findIndex(([column]) => column === "window_start")).map(([, value]) => value);
        const what = `${shown(expected)} but is ${shown(actual)}`;
        return [window ?? "", named.join(", "), `${kind} ${name}`, difference, what];
      });
      console.log(`\n${table(["window", "key", "where", "what", "should be"], rows, { width: terminalWidth() })}`);
      console.log(`\nTo put PostgreSQL right: deno task audit repair ${told.pipeline}`);
    }
  }
  return told.windows.differing === 0 ? Exit.ok : Exit.failed;
}

function repaired(told: Repair, isJson: boolean): number {
  if (isJson) console.log(JSON.stringify(told));
  else {
    const { rewritten, inserted, deleted, left, rewind } = told;
    console.log(`${rewritten} rows rewritten, ${inserted} inserted, ${deleted} deleted; ${left} differences are left.`);
    if (rewind) console.log(`What differs outside of PostgreSQL is put right by: ${rewind.command}`);
  }
  return told.left === 0 ? Exit.ok : Exit.failed;
}
