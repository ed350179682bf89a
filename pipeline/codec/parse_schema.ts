/**
 * Avro schemas as a tree whose names are resolved: what decoders and encoders are made from.
 *
 * @module
 */
import { ConfigError, type Fault } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";

/** Schemas nested deeper than this are refused, so that walking one cannot exhaust the stack. */
export const SCHEMA_DEPTH_MAX = 64;
/** Schemas with more type occurrences than this are refused. */
export const SCHEMA_TYPES_MAX = 20_000;

/** The logical types that are understood; others fall back to the type they annotate, as the specification asks. */
export type Logical =
  | { readonly kind: "decimal"; readonly precision: number; readonly scale: number }
  | {
    readonly kind:
      | "date"
      | "time-millis"
      | "time-micros"
      | "timestamp-millis"
      | "timestamp-micros"
      | "local-timestamp-millis"
      | "local-timestamp-micros"
      | "uuid";
  };

export type PrimitiveName = "null" | "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string";

export interface PrimitiveType {
  readonly kind: PrimitiveName;
  readonly logical: Logical | null;
}

interface Named {
  /** Full name, namespace included. */
  readonly name: string;
  /** Full names. */
  readonly aliases: readonly string[];
}

export interface FixedType extends Named {
  readonly kind: "fixed";
  readonly size: number;
  readonly logical: Logical | null;
}

export interface EnumType extends Named {
  readonly kind: "enum";
  readonly symbols: readonly string[];
  /** The symbol that stands in for a writer's symbol the reader does not know. */
  readonly default: string | null;
}

export interface ArrayType {
  readonly kind: "array";
  readonly items: AvroType;
}

export interface MapType {
  readonly kind: "map";
  readonly values: AvroType;
}

export interface UnionType {
  readonly kind: "union";
  readonly branches: readonly AvroType[];
}

export interface RecordField {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly type: AvroType;
  /** The default as JSON, undefined when there is none. It is checked where it is used. */
  readonly default: unknown;
}

/** May contain itself, always through a union, array or map. */
export interface RecordType extends Named {
  readonly kind: "record";
  readonly fields: readonly RecordField[];
  /** The fewest bytes that a value can take. */
  readonly least: number;
}

export type AvroType = PrimitiveType | FixedType | EnumType | ArrayType | MapType | UnionType | RecordType;

/** The fewest bytes that a value of this type takes; 0 only for types whose values are always empty. */
export function leastBytes(type: AvroType): number {
  switch (type.kind) {
    case "null":
      return 0;
    case "float":
      return 4;
    case "double":
      return 8;
    case "fixed":
      return type.size;
    case "record":
      return type.least;
    case "union":
      return 1 + Math.min(...type.branches.map(leastBytes));
    default:
      return 1;
  }
}

/** The type in words for messages: `timestamp-millis`, `record shop.Merchant`, `union of null, int`. */
export function describe(type: AvroType): string {
  switch (type.kind) {
    case "record":
    case "enum":
      return `${type.kind} ${type.name}`;
    case "fixed":
      return type.logical ? `${type.logical.kind} fixed(${type.size})` : `fixed(${type.size}) ${type.name}`;
    case "array":
      return `array of ${describe(type.items)}`;
    case "map":
      return `map of ${describe(type.values)}`;
    case "union":
      return `union of ${type.branches.map(describe).join(", ")}`;
    default:
      if (type.logical?.kind === "decimal") return `decimal(${type.logical.precision}, ${type.logical.scale})`;
      return type.logical ? type.logical.kind : type.kind;
  }
}

/**
 * Parses an Avro schema (specification 1.12).
 *
 * @param where What to call the schema in messages.
 * @throws ConfigError listing every fault with its path, e.g. `transaction.merchant.country`
 */
export function parseSchema(schema: AvroSchema, where = "schema"): AvroType {
  const parser = new Parser();
  const type = parser.parse(schema, where, "");
  if (parser.faults.length === 0) parser.measure(where);
  if (parser.faults.length > 0) throw new ConfigError(parser.faults);
  return type;
}

type Json = Record<string, unknown>;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const FULL_NAME = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const PRIMITIVES: ReadonlySet<string> = new Set([
  "null",
  "boolean",
  "int",
  "long",
  "float",
  "double",
  "bytes",
  "string",
]);
const NOTHING: PrimitiveType = { kind: "null", logical: null };
/** Which primitive each logical type may annotate, decimal and fixed aside. */
const ANNOTATES: ReadonlyMap<unknown, PrimitiveName> = new Map([
  ["date", "int"],
  ["time-millis", "int"],
  ["time-micros", "long"],
  ["timestamp-millis", "long"],
  ["timestamp-micros", "long"],
  ["local-timestamp-millis", "long"],
  ["local-timestamp-micros", "long"],
  ["uuid", "string"],
]);

class Parser {
  readonly faults: Fault[] = [];
  readonly #names = new Map<string, FixedType | EnumType | RecordType>();
  readonly #records: Mutable<RecordType>[] = [];
  #depth = 0;
  #types = 0;

  parse(schema: unknown, where: string, namespace: string): AvroType {
    if (++this.#types > SCHEMA_TYPES_MAX || this.#depth >= SCHEMA_DEPTH_MAX) {
      const fault = this.#types > SCHEMA_TYPES_MAX
        ? `has more than ${SCHEMA_TYPES_MAX} types`
        : `is nested more than ${SCHEMA_DEPTH_MAX} types deep`;
      // Once over the limit every sibling is too: one fault says it.
      if (!this.faults.some(({ problem }) => problem === fault)) this.#fault(where, fault);
      return NOTHING;
    }
    this.#depth++;
    try {
      if (typeof schema === "string") return this.#reference(schema, where, namespace);
      if (Array.isArray(schema)) return this.#union(schema, where, namespace);
      if (typeof schema === "object" && schema !== null) return this.#object(schema as Json, where, namespace);
      return this.#fault(where, `is ${JSON.stringify(schema) ?? "missing"}, not an Avro schema`);
    } finally {
      this.#depth--;
    }
  }

  /** Finds the least size of every record, from the innermost out; a record that never gets one has no finite value. */
  measure(where: string): void {
    for (let changed = true; changed;) {
      changed = false;
      for (let i = this.#records.length - 1; i >= 0; i--) {
        const record = this.#records[i];
        const least = record.fields.reduce((sum, field) => sum + leastBytes(field.type), 0);
        if (least < record.least) {
          record.least = least;
          changed = true;
        }
      }
    }
    for (const record of this.#records) {
      if (record.least === Infinity) {
        this.#fault(where, `record ${record.name} contains itself without a union, array or map in between`);
      }
    }
  }

  #fault(where: string, problem: string): PrimitiveType {
    this.faults.push({ where, problem });
    return NOTHING;
  }

  #reference(name: string, where: string, namespace: string): AvroType {
    if (PRIMITIVES.has(name)) return { kind: name as PrimitiveName, logical: null };
    const found = this.#names.get(qualify(name, namespace)) ?? this.#names.get(name);
    return found ?? this.#fault(where, `type ${JSON.stringify(name)} is neither primitive nor defined before its use`);
  }

  #union(schemas: readonly unknown[], where: string, namespace: string): AvroType {
    if (schemas.length === 0) return this.#fault(where, "is a union without branches");
    const branches = schemas.map((schema, i) => this.parse(schema, `${where}[${i}]`, namespace));
    const seen = new Set<string>();
    branches.forEach((branch, i) => {
      if (branch.kind === "union") this.#fault(`${where}[${i}]`, "a union cannot directly contain a union");
      const identity = "name" in branch ? branch.name : branch.kind;
      if (seen.has(identity) && this.faults.length === 0) {
        this.#fault(`${where}[${i}]`, `the union has ${identity} twice`);
      }
      seen.add(identity);
    });
    return { kind: "union", branches };
  }

  #object(schema: Json, where: string, namespace: string): AvroType {
    const { type } = schema;
    if (typeof type !== "string") return this.parse(type, where, namespace);
    switch (type) {
      case "record":
      case "error":
        return this.#record(schema, where, namespace);
      case "enum":
        return this.#enum(schema, where, namespace);
      case "fixed":
        return this.#fixed(schema, where, namespace);
      case "array":
        return { kind: "array", items: this.parse(schema.items, `${where}.items`, namespace) };
      case "map":
        return { kind: "map", values: this.parse(schema.values, `${where}.values`, namespace) };
    }
    if (!PRIMITIVES.has(type)) return this.#reference(type, where, namespace);
    const kind = type as PrimitiveName;
    return { kind, logical: logicalOf(schema, kind, Infinity) };
  }

  #record(schema: Json, where: string, namespace: string): AvroType {
    const named = this.#named(schema, where, namespace);
    const fields: RecordField[] = [];
    const record: Mutable<RecordType> = { kind: "record", ...named, fields, least: Infinity };
    this.#define(record, where);
    this.#records.push(record);
    if (!Array.isArray(schema.fields)) return this.#fault(where, `record ${named.name} has no list of fields`);
    const inside = named.name.slice(0, Math.max(0, named.name.lastIndexOf(".")));
    const taken = new Set<string>();
    for (const [i, json] of schema.fields.entries()) {
      const { name, aliases } = (json ?? {}) as Json;
      if (typeof name !== "string" || !NAME.test(name)) {
        this.#fault(`${where}.fields[${i}]`, `${JSON.stringify(name) ?? "a missing name"} is not a field name`);
        continue;
      }
      if (taken.has(name)) this.#fault(`${where}.${name}`, `record ${named.name} has this field twice`);
      taken.add(name);
      const type = this.parse((json as Json).type, `${where}.${name}`, inside);
      fields.push({ name, aliases: this.#strings(aliases, `${where}.${name}`), type, default: (json as Json).default });
    }
    return record;
  }

  #enum(schema: Json, where: string, namespace: string): AvroType {
    const named = this.#named(schema, where, namespace);
    const { symbols } = schema;
    if (!Array.isArray(symbols) || symbols.length === 0 || symbols.some((symbol) => !isName(symbol))) {
      return this.#fault(where, `enum ${named.name} needs a list of symbols, each a name`);
    }
    if (new Set(symbols).size < symbols.length) this.#fault(where, `enum ${named.name} has a symbol twice`);
    if (schema.default !== undefined && !symbols.includes(schema.default)) {
      this.#fault(
        where,
        `the default ${JSON.stringify(schema.default)} of enum ${named.name} is not among its symbols`,
      );
    }
    const fallback = typeof schema.default === "string" ? schema.default : null;
    return this.#define({ kind: "enum", ...named, symbols: symbols as string[], default: fallback }, where);
  }

  #fixed(schema: Json, where: string, namespace: string): AvroType {
    const named = this.#named(schema, where, namespace);
    const size = schema.size as number;
    if (!Number.isInteger(size) || size < 0 || size > 0x7fff_ffff) {
      return this.#fault(
        where,
        `fixed ${named.name} has size ${JSON.stringify(size) ?? "missing"}, not a whole number`,
      );
    }
    return this.#define({ kind: "fixed", ...named, size, logical: logicalOf(schema, "fixed", size) }, where);
  }

  #named(schema: Json, where: string, namespace: string): Named {
    const { name } = schema;
    if (typeof name !== "string" || !FULL_NAME.test(name) || PRIMITIVES.has(name)) {
      this.#fault(where, `${JSON.stringify(name) ?? "a missing name"} cannot name a ${schema.type}`);
      return { name: `unnamed${this.#types}`, aliases: [] };
    }
    const full = qualify(name, typeof schema.namespace === "string" ? schema.namespace : namespace);
    const inside = full.slice(0, Math.max(0, full.lastIndexOf(".")));
    return { name: full, aliases: this.#strings(schema.aliases, where).map((alias) => qualify(alias, inside)) };
  }

  #define<T extends FixedType | EnumType | RecordType>(type: T, where: string): T {
    if (this.#names.has(type.name)) this.#fault(where, `${type.name} is defined twice`);
    this.#names.set(type.name, type);
    return type;
  }

  #strings(list: unknown, where: string): string[] {
    if (list === undefined) return [];
    if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list;
    this.#fault(where, "aliases must be a list of names");
    return [];
  }
}

function isName(value: unknown): boolean {
  return typeof value === "string" && NAME.test(value);
}

function qualify(name: string, namespace: string): string {
  return name.includes(".") || namespace === "" ? name : `${namespace}.${name}`;
}

function logicalOf(schema: Json, kind: PrimitiveName | "fixed", size: number): Logical | null {
  const { logicalType, precision } = schema;
  if (logicalType === "decimal" && (kind === "bytes" || kind === "fixed")) {
    const scale = schema.scale ?? 0;
    const valid = isWhole(precision) && isWhole(scale) && precision >= 1 && scale <= precision &&
      precision <= Math.floor((8 * size - 1) * Math.log10(2));
    return valid ? { kind: "decimal", precision, scale } : null;
  }
  if (logicalType === "uuid" && kind === "fixed" && size === 16) return { kind: "uuid" };
  if (ANNOTATES.get(logicalType) !== kind) return null;
  return { kind: logicalType as Exclude<Logical["kind"], "decimal"> };
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}
