import type { FieldType } from "../../pipeline/columns.ts";
import { ORIGIN_COLUMNS } from "../../pipeline/deliveries/columns.ts";
import type { ResultColumn } from "../../pipeline/plan/plan.ts";
import type { ResultRows, ResultValue } from "../../pipeline/sinks/sink.ts";
import { KEYSPACE, readTable, withCassandra } from "./cassandra_subject.ts";

/** A column of a delivery. */
export function column(name: string, type: FieldType["type"], role: "key" | "value" = "value"): ResultColumn {
  return { name, role, type: { type, nullable: role === "value" } as FieldType };
}

/** A user by id, as the columns of a delivery with a key. */
export const USER_COLUMNS: readonly ResultColumn[] = [
  column("user_id", "string", "key"),
  column("name", "string"),
  column("photo", "bytes"),
  ...ORIGIN_COLUMNS,
];

/** A record of {@linkcode USER_COLUMNS}; without name and photo it says that there is no such user any more. */
export interface User {
  readonly id: string;
  readonly name?: string | null;
  readonly photo?: Uint8Array | null;
  readonly offset: number;
  readonly isGone?: true;
}

/** Rows of partition 0 of the topic `users`. */
export function userRows(users: readonly User[], columns = USER_COLUMNS): ResultRows {
  const rows = users.map(({ id, name = null, photo = null, offset }): ResultValue[] => [
    id,
    name,
    photo,
    0,
    offset,
    1_780_000_000_000 + offset,
  ]);
  const offsets = users.map(({ offset }) => offset);
  return {
    columns,
    length: rows.length,
    values: columns.map((_, index) => rows.map((row) => row[index])),
    origin: {
      topic: "users",
      partition: 0,
      from: offsets[0] ?? 0,
      to: (offsets.at(-1) ?? -1) + 1,
      offsets,
      tombstones: new Set(users.flatMap(({ isGone }, row) => isGone ? [row] : [])),
    },
  };
}

/** Names of the users in a table, by their ids. */
export async function usersOf(address: string, table: string): Promise<Map<unknown, unknown>> {
  const rows = await withCassandra(address, (client) => readTable(client, `${KEYSPACE}.${table}`, USER_COLUMNS));
  return new Map(rows.map(([id, name]) => [id, name]));
}
