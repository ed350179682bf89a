/**
 * Which columns a topic's archive has: grown from the schemas that its records are written with.
 *
 * A field keeps its column for good. One that comes with a wider type widens it (a decimal to more digits); one that comes with a
 * type the column cannot hold exactly (a double beside longs, too) gets a column of its own, named after both
 * (`amount_string`), so that nothing is lost and nothing that reads the table breaks. The table's schema says of such a column
 * which field it is of, as `FIELD_METADATA`.
 *
 * @module
 */
import { type AvroType, columnType, withoutNull } from "../../../codec/schema.ts";
import type { FieldType } from "../../../columns.ts";
import { decimalOf, deltaField, deltaTypeOf } from "../delta/schema.ts";
import type { DeltaField, DeltaSchema, DeltaType, SimpleType } from "../delta/table.ts";
import { ARCHIVE_COLUMNS, ARCHIVE_PARTITION_COLUMN } from "./archive.ts";

/** A leaf of the table's schema that holds a field: `path` from the table's root, structs first. */
export interface ArchiveColumn {
  /** The field's dotted path where its column has another name; null where it has the field's. */
  readonly field: string | null;
  readonly path: readonly string[];
  type: SimpleType;
}

/** A field of a writer's schema, and what the archive keeps of it. */
export interface WrittenField {
  /** Dotted, as the writer's schema has it. */
  readonly path: string;
  /** Null for what is kept as JSON text: arrays, maps, unions, decimals beyond 38 digits. */
  readonly type: FieldType | null;
  /** Index into `ArchiveColumns.columns`. */
  readonly column: number;
}

/** In a column's metadata: the dotted path of the field that it is of, where it has another name. */
export const FIELD_METADATA = "tailrace.field";
/** Most columns of one table; fields beyond are left to the raw value, which is then kept. */
export const ARCHIVE_COLUMNS_MAX = 2_000;
const DEPTH_MAX = 16;

const HEADERS: DeltaType = {
  type: "array",
  containsNull: false,
  elementType: { type: "struct", fields: [deltaField("key", "string"), deltaField("value", "binary")] },
};

const KAFKA_TYPES: Readonly<Record<(typeof ARCHIVE_COLUMNS)[number], DeltaType>> = {
  kafka_topic: "string",
  kafka_partition: "integer",
  kafka_offset: "long",
  kafka_timestamp: "timestamp",
  kafka_key: "binary",
  kafka_headers: HEADERS,
  kafka_schema_id: "integer",
  kafka_fault: "string",
  kafka_value: "binary",
};

/** The columns of one archive. Grows only. */
export class ArchiveColumns {
  readonly columns: ArchiveColumn[] = [];
  /** Raised with every change. */
  generation = 0;

  /** Takes up what a table has already. */
  constructor(schema: DeltaSchema | null) {
    const own = new Set<string>([...ARCHIVE_COLUMNS, ARCHIVE_PARTITION_COLUMN]);
    const walk = (fields: readonly DeltaField[], around: readonly string[]) => {
      for (const { name, type, metadata } of fields) {
        if (around.length === 0 && own.has(name)) continue;
        const path = [...around, name];
        if (typeof type === "string") this.columns.push({ path, type, field: metadata[FIELD_METADATA] ?? null });
        else if (type.type === "struct") walk(type.fields, path);
      }
    };
    walk(schema?.fields ?? [], []);
  }

  /** The table's schema, as it has to be for the columns there are now. */
  schema(): DeltaSchema {
    return {
      type: "struct",
      fields: [
        ...ARCHIVE_COLUMNS.map((name) => deltaField(name, KAFKA_TYPES[name])),
        ...nested(this.columns),
        deltaField(ARCHIVE_PARTITION_COLUMN, "date"),
      ],
    };
  }

  /** Finds columns for all fields of a writer's schema, and adds or widens what is needed. `left` names fields without one. */
  admit(writer: AvroType): { readonly fields: readonly WrittenField[]; readonly left: readonly string[] } {
    const fields: WrittenField[] = [];
    const left: string[] = [];
    const taken = new Set<number>();
    for (const { path, type } of leaves(writer)) {
      const column = this.#columnFor(path, type === null ? "string" : deltaTypeOf(type), taken);
      if (column < 0) left.push(path.join("."));
      else {
        taken.add(column);
        fields.push({ path: path.join("."), type, column });
      }
    }
    return { fields, left };
  }

  /** -1 when there is no room for another. */
  #columnFor(path: readonly string[], wanted: SimpleType, taken: ReadonlySet<number>): number {
    for (const name of names(path, wanted)) {
      const field = name === path ? null : path.join(".");
      const found = this.columns.findIndex((column) => samePath(column.path, name));
      if (found >= 0 && !taken.has(found) && this.columns[found].field === field) {
        const held = wider(this.columns[found].type, wanted);
        if (held === null) continue;
        if (held !== this.columns[found].type) {
          this.columns[found].type = held;
          this.generation++;
        }
        return found;
      }
      if (found >= 0 || this.#clashes(name)) continue;
      if (this.columns.length >= ARCHIVE_COLUMNS_MAX) return -1;
      this.columns.push({ path: name, type: wanted, field });
      this.generation++;
      return this.columns.length - 1;
    }
    return -1;
  }

  /** Whether a name is that of a column of every archive, or a leaf here and a record there. */
  #clashes(path: readonly string[]): boolean {
    const [first] = path;
    const own: readonly string[] = [...ARCHIVE_COLUMNS, ARCHIVE_PARTITION_COLUMN];
    if (own.includes(first.toLowerCase())) return true;
    return this.columns.some((column) => {
      const shorter = Math.min(column.path.length, path.length);
      return column.path.length !== path.length && samePath(column.path.slice(0, shorter), path.slice(0, shorter));
    });
  }
}

/** Names to try, the last part changed: as it is, with its type, then with numbers. */
function* names(path: readonly string[], type: SimpleType): Generator<readonly string[]> {
  const around = path.slice(0, -1);
  const last = path[path.length - 1];
  yield path;
  const typed = `${last}_${type.replace(/[^a-z0-9]+/g, "_").replace(/_$/, "")}`;
  yield [...around, typed];
  for (let number = 2; number <= 9; number++) yield [...around, `${typed}_${number}`];
  // The record around it is what is in the way.
  if (around.length > 0) yield [path.join("_")];
}

/** Readers take names without regard to case. */
function samePath(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name.toLowerCase() === b[i].toLowerCase());
}

/** The fields of a record, and of the records in it, that are none themselves. */
function* leaves(writer: AvroType): Generator<{ readonly path: readonly string[]; readonly type: FieldType | null }> {
  interface Around {
    readonly path: readonly string[];
    readonly records: readonly AvroType[];
    readonly nullable: boolean;
  }
  function* walk(type: AvroType, { path, records, nullable }: Around): ReturnType<typeof leaves> {
    const inner = withoutNull(type);
    const record = inner.type;
    const isOpened = record.kind === "record" && record.fields.length > 0 && path.length < DEPTH_MAX &&
      !records.includes(record);
    if (isOpened) {
      const around = { records: [...records, record], nullable: nullable || inner.nullable };
      for (const field of record.fields) yield* walk(field.type, { ...around, path: [...path, field.name] });
    } else if (path.length > 0) {
      const column = columnType(type, nullable);
      yield { path, type: typeof column === "string" ? null : column };
    }
  }
  yield* walk(writer, { path: [], records: [], nullable: false });
}

/** The type that holds the values of both exactly; null when none does. */
function wider(have: SimpleType, wanted: SimpleType): SimpleType | null {
  if (have === wanted) return have;
  const [a, b] = [decimalOf(have), decimalOf(wanted)];
  if (a === null || b === null || a.scale !== b.scale) return null;
  return a.precision >= b.precision ? have : wanted;
}

/** Leaves by path as fields, records around them as structs; in the order in which each name comes first. */
function nested(leaves: readonly ArchiveColumn[], depth = 0): DeltaField[] {
  const byName = Map.groupBy(leaves, ({ path }) => path[depth]);
  return Array.from(byName, ([name, inside]) => {
    const [{ path, type, field }] = inside;
    if (path.length > depth + 1) return deltaField(name, { type: "struct", fields: nested(inside, depth + 1) });
    return field === null
      ? deltaField(name, type)
      : { ...deltaField(name, type), metadata: { [FIELD_METADATA]: field } };
  });
}
