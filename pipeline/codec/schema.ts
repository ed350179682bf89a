/**
 * Which fields of an Avro schema can become columns, and of what type.
 *
 * @module
 */
import { DECIMAL_DIGITS_MAX, type FieldType } from "../columns.ts";
import { ConfigError } from "../errors.ts";
import { nearestName } from "../nearest_name.ts";
import type { AvroSchema } from "../plan/plan.ts";
import { type AvroType, describe, parseSchema, type RecordType } from "./parse_schema.ts";

export * from "./parse_schema.ts";

/** Listings stop after this many fields: nested records that share types can have exponentially many. */
export const LISTED_FIELDS_MAX = 10_000;
/** And after walking this many paths, of which some may end in no column. */
const PATHS_WALKED_MAX = 10 * LISTED_FIELDS_MAX;

/**
 * Every field that can become a column, by dotted path, in schema order. A field is nullable when it or a record around
 * it is a union with null. Local timestamps are columns of the timestamp types, their wall time taken as UTC.
 *
 * @throws ConfigError when the schema is not an Avro record
 */
export function fieldTypes(schema: AvroSchema): Map<string, FieldType> {
  const fields = new Map<string, FieldType>();
  let seen = 0;
  const walk = (type: AvroType, path: string, nullable: boolean, around: readonly RecordType[]): void => {
    if (fields.size >= LISTED_FIELDS_MAX || ++seen > PATHS_WALKED_MAX) return;
    const inner = withoutNull(type);
    if (inner.type.kind !== "record") {
      const column = columnType(type, nullable);
      if (typeof column !== "string") fields.set(path, column);
    } else if (!around.includes(inner.type)) {
      const deeper = [...around, inner.type];
      for (const field of inner.type.fields) {
        walk(field.type, path === "" ? field.name : `${path}.${field.name}`, nullable || inner.nullable, deeper);
      }
    }
  };
  const root = parseSchema(schema);
  if (withoutNull(root).type.kind !== "record") {
    throw new ConfigError({
      where: "schema",
      problem: `is ${describe(root)}; columns come from the fields of a record`,
    });
  }
  walk(root, "", false, []);
  return fields;
}

/**
 * The type of the column for one dotted path, or, as a string, why there is none: `no field "amout"; "amount" is near`.
 *
 * @throws ConfigError when the schema is not an Avro schema
 */
export function projectableField(schema: AvroSchema, path: string): FieldType | string {
  const found = findField(parseSchema(schema), path);
  return typeof found === "string" ? found : columnType(found.type, found.nullable);
}

/** The type at a dotted path and whether it or a record around it may be null, or why there is no such field. */
export function findField(schema: AvroType, path: string): { type: AvroType; nullable: boolean } | string {
  let type = schema;
  let nullable = false;
  let walked = "";
  for (const name of path.split(".")) {
    const inner = withoutNull(type);
    nullable ||= inner.nullable;
    if (inner.type.kind !== "record") {
      return walked === ""
        ? `the schema is ${describe(type)}, not a record`
        : `${walked} is ${describe(type)}, not a record`;
    }
    const field = inner.type.fields.find((field) => field.name === name);
    if (field === undefined) return noField(inner.type, name, walked);
    type = field.type;
    walked = walked === "" ? name : `${walked}.${name}`;
  }
  return { type, nullable };
}

/** The column type for values of `type`, or, as a string, why they cannot be a column. */
export function columnType(type: AvroType, nullableParent = false): FieldType | string {
  const inner = withoutNull(type);
  const nullable = nullableParent || inner.nullable;
  const bare = inner.type;
  switch (bare.kind) {
    case "null":
      return "is always null";
    case "array":
    case "map":
      return `is ${bare.kind === "map" ? "a" : "an"} ${describe(bare)}; a column holds one value per record`;
    case "union":
      return `is a ${describe(bare)}; a column holds one type, or one and null`;
    case "record":
      return `is a record; name one of its fields: ${bare.fields.slice(0, 8).map(({ name }) => name).join(", ")}`;
    case "enum":
      return { type: "enum", symbols: bare.symbols, nullable };
  }
  if (bare.logical === null) return { type: bare.kind === "fixed" ? "bytes" : bare.kind, nullable };
  switch (bare.logical.kind) {
    case "decimal": {
      const { precision, scale } = bare.logical;
      if (precision > DECIMAL_DIGITS_MAX) {
        return `is a decimal of ${precision} digits; the most is ${DECIMAL_DIGITS_MAX}`;
      }
      return { type: "decimal", precision, scale, nullable };
    }
    case "local-timestamp-millis":
      return { type: "timestamp-millis", nullable };
    case "local-timestamp-micros":
      return { type: "timestamp-micros", nullable };
    default:
      return { type: bare.logical.kind, nullable };
  }
}

/** What remains of a union when null is taken out: the one other branch, or the type as it was. */
export function withoutNull(type: AvroType): { type: AvroType; nullable: boolean } {
  if (type.kind !== "union") return { type, nullable: false };
  const others = type.branches.filter((branch) => branch.kind !== "null");
  const nullable = others.length < type.branches.length;
  return others.length === 1 ? { type: others[0], nullable } : { type, nullable };
}

function noField(record: RecordType, name: string, walked: string): string {
  const names = record.fields.map((field) => field.name);
  const near = nearestName(name, names);
  const have = near
    ? `did you mean ${near}?`
    : `it has ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", ..." : ""}`;
  return `no field "${name}" in ${walked === "" ? `record ${record.name}` : walked}; ${have}`;
}
