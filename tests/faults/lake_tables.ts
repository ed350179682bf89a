/**
 * The lake of a run as it is on disk: the archive against the log, and the tables of results against what the log gives.
 *
 * @module
 */
import { LakeDatabase } from "../../pipeline/sinks/lake/database.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import type { Lake } from "../../pipeline/sinks/lake/lake.ts";
import { openLake } from "../../pipeline/sinks/lake/open_lake.ts";
import { queried } from "../lake/rows.ts";
import { type PlainTable, plainTableSql, readPlainTable } from "../lake/plain_table.ts";
import { compareArchive } from "./archive_table.ts";
import type { ReadBack, Rows, Rules } from "./expected.ts";
import type { Findings } from "./findings.ts";
import { compareRows, type SeenRows } from "./results.ts";

/** The table that the runs' topic is archived in. */
export const ARCHIVE = "faults";

const MEMORY_BYTES = 2 ** 31;

export interface LakeAsked {
  /** The folder of the tables. */
  readonly lake: string;
  readonly readBack: ReadBack;
  /** What each pipeline's rows must be, early ones included. */
  readonly expected: readonly { readonly rules: Rules; readonly rows: Rows }[];
  readonly findings: Findings;
}

/** Compares all tables; one that cannot be read is a finding, too. */
export async function compareLake({ lake, readBack, expected, findings }: LakeAsked): Promise<void> {
  const { connection } = readBack;
  const scratch = `${lake}.scratch`;
  await using own = openLake({
    store: createDiskStore({ folder: lake }),
    database: new LakeDatabase({ scratch, memoryBytesMax: MEMORY_BYTES, threads: 1 }),
  });
  const read = async (name: string, place: "archive" | "lake table", compare: (table: PlainTable) => Promise<void>) => {
    try {
      const table = await readPlainTable(`${lake}/${name}`, { connection });
      await compareReaders(own, table, (difference) => findings.note("wrong", place, difference));
      await compare(table);
    } catch (error) {
      findings.note("wrong", place, `${name} cannot be read: ${(error as Error).message}`);
    }
  };
  await read(ARCHIVE, "archive", (table) => compareArchive(connection, table, findings));
  for (const { rules: { pipeline }, rows } of expected) {
    await read(pipeline, "lake table", async (table) => {
      const seen: SeenRows = new Map();
      for (const row of await queried(connection, resultsSql(table))) {
        const key = `${row.account_id} ${row.window_ms}`;
        const told = `${pipeline} has ${key} in version ${table.version}`;
        if (seen.has(key)) findings.note("duplicated", "lake table", `${told} twice`);
        if (row.is_right_day !== true) findings.note("wrong", "lake table", `${told} in the wrong partition`);
        const number = (name: string) => Number(row[name]);
        seen.set(key, {
          n: number("n"),
          totalCents: number("total_cents"),
          mean: number("mean"),
          largestCents: number("largest_cents"),
          revision: number("revision"),
          final: row.final as boolean,
        });
      }
      const final: Rows = new Map([...rows].filter(([, row]) => row.final));
      compareRows("lake table", final, seen, findings);
    });
  }
}

/** Tailrace's own reader must find the same files at the same version. */
async function compareReaders(own: Lake, table: PlainTable, note: (difference: string) => void): Promise<void> {
  const name = table.folder.slice(table.folder.lastIndexOf("/") + 1);
  const snapshot = await (await own.table(name))?.at({ version: table.version });
  const files = (list: readonly { readonly path: string }[]) => list.map(({ path }) => decodeURIComponent(path)).sort();
  const [ours, plain] = [files(snapshot?.files ?? []), files(table.files)];
  if (ours.join("\n") !== plain.join("\n")) {
    note(`${name}: our own reader finds ${ours.length} files at version ${table.version}, not ${plain.length}`);
  }
}

function resultsSql(table: PlainTable): string {
  return `SELECT account_id, epoch_ms(window_start)::VARCHAR AS window_ms, n, (total * 100)::BIGINT AS total_cents, mean,
      (largest * 100)::BIGINT AS largest_cents, revision, final,
      window_date IS NOT DISTINCT FROM CAST(window_start AS DATE) AS is_right_day
    FROM (${plainTableSql(table)})`;
}
