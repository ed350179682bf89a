import type { FieldType } from "../columns.ts";
import { ConfigError, type Fault } from "../errors.ts";
import type { AvroSchema, ResultColumn } from "../plan/plan.ts";

const AVRO_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Namespace of the schemas of results. */
const NAMESPACE = "tailrace.results";

/**
 * The Avro schema of a pipeline's results: a record named after the pipeline with one field per column, timestamps and
 * decimals as logical types, nullable ones as a union with null.
 *
 * @throws ConfigError naming every column whose name Avro does not allow
 */
export function resultSchema(columns: readonly ResultColumn[], options: { readonly pipeline: string }): AvroSchema {
  const faults: Fault[] = columns.filter(({ name }) => !AVRO_NAME.test(name)).map(({ name }) => ({
    where: `${options.pipeline}.${name}`,
    problem:
      "cannot be a field of a results topic: Avro names have letters, digits and _, and do not start with a digit",
  }));
  if (faults.length > 0) throw new ConfigError(faults);
  return {
    type: "record",
    name: options.pipeline.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=[0-9])/, "_"),
    namespace: NAMESPACE,
    doc: `Results of the pipeline ${options.pipeline}: one record per update of a key's window`,
    fields: columns.map(({ name, type }) => {
      const avro = avroType(name, type);
      return type.nullable ? { name, type: ["null", avro], default: null } : { name, type: avro };
    }),
  };
}

function avroType(name: string, type: FieldType): AvroSchema {
  switch (type.type) {
    case "uuid":
      return { type: "string", logicalType: "uuid" };
    case "date":
    case "time-millis":
      return { type: "int", logicalType: type.type };
    case "time-micros":
    case "timestamp-millis":
    case "timestamp-micros":
      return { type: "long", logicalType: type.type };
    case "decimal":
      return { type: "bytes", logicalType: "decimal", precision: type.precision, scale: type.scale };
    case "enum":
      // Named types are one name each in a schema, and a column's name may be the record's.
      return { type: "enum", name: `${name}_symbol`, symbols: type.symbols };
    default:
      return type.type;
  }
}
