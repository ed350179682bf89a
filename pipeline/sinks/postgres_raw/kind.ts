/**
 * A PostgreSQL table of a topic's records as a destination.
 *
 * @module
 */
import type { DeliveryKind } from "../../deliveries/delivery_spec.ts";
import { ConfigError, type Fault } from "../../errors.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { isSecret } from "../../secrets.ts";
import { IDENTIFIER_BYTES_MAX, tableName } from "../postgres_types.ts";
import type { PostgresTableSpec } from "./definition.ts";
import { createPostgresRawSink } from "./postgres_raw_sink.ts";

const OPTIONS: KnownOptions<PostgresTableSpec> = { table: true, database: true };

export const postgresTableKind: DeliveryKind<PostgresTableSpec> = {
  check: (spec, plan) => [
    ...unknownOptions(spec, OPTIONS, "postgresTable"),
    ...tableFaults(spec),
    ...plan.columns.flatMap(({ name }): Fault[] =>
      isUsable(name)
        ? []
        : [{ where: `postgresTable.${name}`, problem: `a column's name has 1 to ${IDENTIFIER_BYTES_MAX} bytes` }]
    ),
  ],
  describe: (spec) => `PostgreSQL table ${spec.table}${spec.database ? ` of ${spec.database.secret}` : ""}`,
  // Of the database by which it is named: two names for one are the user's.
  claim: ({ table, database }) => {
    const { schema, name } = tableName(table);
    return database
      ? `postgres(${database.secret}, ${schema}.${name})`
      : `postgres("${schema === "public" ? name : table}")`;
  },
  async open({ table, database }, { plan, secrets, databaseUrl }) {
    const url = database === null ? databaseUrl : secrets.get(database);
    if (database !== null && !/^postgres(ql)?:\/\//.test(url)) {
      // Not quoted: it may hold a password.
      throw new ConfigError({ where: `secret ${database.secret}`, problem: "is no postgres:// address" });
    }
    return await createPostgresRawSink({ url, table, columns: plan.columns, delivery: plan.name, topic: plan.topic });
  },
};

function tableFaults({ table, database }: PostgresTableSpec): Fault[] {
  const faults: Fault[] = [];
  const parts = typeof table === "string" ? table.split(".") : [];
  if (parts.length < 1 || parts.length > 2 || !parts.every(isUsable)) {
    const problem = `${JSON.stringify(table)} is no table: wanted "table" or "schema.table", each of 1 to ` +
      `${IDENTIFIER_BYTES_MAX} bytes`;
    faults.push({ where: "postgresTable", problem });
  }
  if (database !== null && !isSecret(database)) {
    faults.push({ where: "postgresTable.database", problem: `is no secret("..")` });
  }
  return faults;
}

function isUsable(name: string): boolean {
  return name !== "" && !name.includes("\0") && new TextEncoder().encode(name).length <= IDENTIFIER_BYTES_MAX;
}
