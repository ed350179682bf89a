import type { DuckDBConnection } from "@duckdb/node-api";
import { RewoundStretch } from "../runtime/rewound_stretch.ts";
import type { Settled } from "../runtime/settled.ts";
import type { JudgedTables } from "./expected_sql.ts";

/** Rows of one statement. */
const ROWS_AT_A_TIME = 5_000;

/**
 * Writes down how a commit judged the records, in tables of the connection: what of the letters holds, and what came back and
 * counted.
 */
export async function judgedTables(
  connection: DuckDBConnection,
  { partitions }: Settled,
  letters: string,
): Promise<JudgedTables> {
  const rewound = partitions.filter((one) => one.rewound);
  const read = partitions.map(({ partition, start, position }) => ({ partition, from: start, until: position }));
  await fill(connection, "tailrace_counted (part INTEGER, place BIGINT)", {
    rows: partitions.flatMap(({ partition, redriven }) => redriven.map(({ offset }) => [partition, offset])),
  });
  const tables = { read, counted: "tailrace_counted" };
  if (rewound.length === 0) return { ...tables, aside: letters };
  // Of letters of before a rewind those hold whose records were set aside this time, too.
  await fill(connection, "tailrace_rewound (part INTEGER, place BIGINT, until BIGINT)", {
    rows: rewound.map(({ partition, rewound }) => [partition, rewound!.from, rewound!.to]),
  });
  await fill(connection, "tailrace_again (part INTEGER, place BIGINT, until BIGINT)", {
    rows: rewound.flatMap(({ partition, rewound }) => rewound!.aside.map(([from, to]) => [partition, from, to])),
  });
  const isIn = (table: string) =>
    `EXISTS (SELECT 1 FROM ${table} AS r WHERE r.part = l.part AND l.place >= r.place AND l.place < r.until)`;
  await connection.run(`CREATE OR REPLACE TEMP TABLE tailrace_aside AS
SELECT part, place FROM ${letters} AS l WHERE NOT ${isIn("tailrace_rewound")} OR ${isIn("tailrace_again")}`);
  return { ...tables, aside: "tailrace_aside" };
}

/** Why it is not known of every letter whether it holds; null when it is. */
export function rewoundDoubt({ partitions }: Settled): string | null {
  const isUnknown = partitions.some(({ rewound, position }) =>
    rewound && new RewoundStretch(rewound).letterAt(Math.min(rewound.to, position) - 1) === "unknown"
  );
  return isUnknown ? "more records were set aside since the rewind than are remembered" : null;
}

async function fill(
  connection: DuckDBConnection,
  table: string,
  { rows }: { readonly rows: readonly (readonly number[])[] },
): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE ${table}`);
  const name = table.slice(0, table.indexOf(" "));
  for (let from = 0; from < rows.length; from += ROWS_AT_A_TIME) {
    const some = rows.slice(from, from + ROWS_AT_A_TIME).map((row) => `(${row})`);
    await connection.run(`INSERT INTO ${name} VALUES ${some.join(", ")}`);
  }
}
