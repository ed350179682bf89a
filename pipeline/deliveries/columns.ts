/**
 * A topic's records as rows for sinks.
 *
 * @module
 */
import { columnType, parseSchema } from "../codec/schema.ts";
import { ConfigError } from "../errors.ts";
import type { AvroSchema, ResultColumn } from "../plan/plan.ts";

/** Columns beside the record's fields, in this order, last. Offsets order what is said of one key: it stays in its partition. */
export const ORIGIN_COLUMNS: readonly ResultColumn[] = [
  { name: "kafka_partition", type: { type: "int", nullable: false }, role: "value" },
  { name: "kafka_offset", type: { type: "long", nullable: false }, role: "revision" },
  { name: "kafka_timestamp", type: { type: "timestamp-millis", nullable: false }, role: "value" },
];

/**
 * The columns of a delivery: every top-level field of the schema, in its order, then `ORIGIN_COLUMNS`. Fields that are arrays, maps
 * or records are their JSON text (`isJson`). The fields of `key` have the role `key`.
 *
 * @throws ConfigError when the schema is no record, a field has the name of an origin column, or a key is no field, or one without a readable value
 */
export function deliveryColumns(schema: AvroSchema, { key }: { readonly key: readonly string[] }): ResultColumn[] {
  const record = parseSchema(schema);
  if (record.kind !== "record") {
    throw new ConfigError({ where: "from.schema", problem: "records are read as a record" });
  }
  const names = record.fields.map(({ name }) => name);
  const faults = [
    ...key.filter((name) => !names.includes(name)).map((name) => ({
      where: "key",
      problem: `${name} is no field of ${record.name}; there are ${names.join(", ")}`,
    })),
    ...ORIGIN_COLUMNS.filter(({ name }) => names.includes(name)).map(({ name }) => ({
      where: `from.schema`,
      problem: `the field ${name} has the name of a column that says where a record was`,
    })),
  ];
  const columns = record.fields.map(({ name, type }): ResultColumn => {
    const found = columnType(type);
    const role = key.includes(name) ? "key" : "value";
    if (typeof found !== "string") return { name, type: found, role };
    if (role === "key") faults.push({ where: "key", problem: `${name}: ${found}` });
    return { name, type: { type: "string", nullable: true }, role, isJson: true };
  });
  if (faults.length > 0) throw new ConfigError(faults);
  return [...columns, ...ORIGIN_COLUMNS];
}
