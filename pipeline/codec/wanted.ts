/**
 * What is wanted from a reader's schema, as a tree beside the writer's: the first half of making a decoder.
 *
 * @module
 */
import { type FieldType } from "../columns.ts";
import { ConfigError, type Fault } from "../errors.ts";
import type { PlanField } from "../plan/plan.ts";
import { type Constant, constantOf, leafMatches, namesMatch, writerField } from "./resolve.ts";
import { type AvroType, columnType, describe, findField, type RecordField, withoutNull } from "./schema.ts";

/** A wanted field, or a record that wanted fields are in. */
export interface Wanted {
  /** The reader's type, null taken out of its union. */
  readonly type: AvroType;
  /** Whether the reader's type is a union with null. */
  readonly nullable: boolean;
  /** Dotted; empty for the root. */
  readonly path: string;
  /** Which column it fills, -1 for a record. */
  readonly column: number;
  readonly inside: { readonly field: RecordField; readonly wanted: Wanted }[];
}

/**
 * The tree of the wanted fields of a reader's schema.
 *
 * @throws ConfigError naming every path that is no column of the planned type
 */
export function wantedTree(reader: AvroType, fields: readonly PlanField[]): Wanted {
  const faults: Fault[] = [];
  const root: Wanted = { ...withoutNull(reader), path: "", column: -1, inside: [] };
  for (const [column, { path, type }] of fields.entries()) {
    const found = findField(reader, path);
    const have = typeof found === "string" ? found : columnType(found.type, found.nullable);
    if (typeof have === "string") faults.push({ where: path, problem: have });
    else if (!sameColumn(have, type)) {
      faults.push({
        where: path,
        problem: `is planned as ${words(type)}, but the reader's schema says ${words(have)}`,
      });
    } else if (fields.findIndex((other) => other.path === path) < column) {
      faults.push({ where: path, problem: "is wanted twice" });
    } else add(root, path.split("."), column);
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return root;
}

/** Why values of the writer's type can never be read as what is wanted, in words naming both sides; null when they can. */
export function mismatch(writer: AvroType, wanted: Wanted, writerPath: string): string | null {
  if (writer.kind === "union") {
    const problems = writer.branches.map((branch) => mismatch(branch, wanted, writerPath));
    return problems.some((problem) => problem === null) ? null : problems[0];
  }
  const sides = () =>
    `the writer's ${writerPath === "" ? "schema" : writerPath} is ${describe(writer)}, which cannot be read as ` +
    `the reader's ${wanted.path === "" ? "schema" : wanted.path}, ${describe(wanted.type)}`;
  if (writer.kind === "null") return wanted.nullable ? null : sides();
  if (wanted.column >= 0) return leafMatches(writer, wanted.type) ? null : sides();
  if (writer.kind !== "record" || wanted.type.kind !== "record" || !namesMatch(writer, wanted.type)) return sides();
  const read = new Map<string, string>();
  for (const { field, wanted: inner } of wanted.inside) {
    const written = writerField(writer, field);
    if (written === undefined) {
      const problem = missing(inner, field, writerPath);
      if (problem) return problem;
      continue;
    }
    const path = writerPath === "" ? written.name : `${writerPath}.${written.name}`;
    if (read.has(written.name)) {
      return `the reader's ${read.get(written.name)} and ${inner.path} both read the writer's ${path}`;
    }
    read.set(written.name, inner.path);
    const problem = mismatch(written.type, inner, path);
    if (problem) return problem;
  }
  return null;
}

/** The constants that stand for a wanted field or record which the writer does not have, by column. */
export function defaultsOf(wanted: Wanted, field: RecordField, json: unknown = field.default): Map<number, Constant> {
  const constants = new Map<number, Constant>();
  if (wanted.column >= 0) {
    const constant = constantOf(field.type, json);
    if (typeof constant === "string") throw new TypeError(constant);
    constants.set(wanted.column, constant);
  } else if (json === null && wanted.nullable) {
    for (const column of columnsIn(wanted)) constants.set(column, { kind: "null" });
  } else if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new TypeError(`the default ${JSON.stringify(json)?.slice(0, 60)} is not a value of ${describe(field.type)}`);
  } else {
    for (const { field: inner, wanted: deeper } of wanted.inside) {
      const value = Object.hasOwn(json, inner.name) ? (json as Record<string, unknown>)[inner.name] : inner.default;
      if (value === undefined) throw new TypeError(`the default of ${wanted.path} has no value for ${inner.name}`);
      for (const [column, constant] of defaultsOf(deeper, inner, value)) constants.set(column, constant);
    }
  }
  return constants;
}

/** Every column that is filled from this place or below it. */
export function columnsIn(wanted: Wanted): number[] {
  return wanted.column >= 0 ? [wanted.column] : wanted.inside.flatMap(({ wanted }) => columnsIn(wanted));
}

function add(at: Wanted, names: readonly string[], column: number): void {
  if (at.type.kind !== "record") throw new TypeError(`${at.path} is not a record`);
  const field = at.type.fields.find(({ name }) => name === names[0])!;
  if (names.length > 1) {
    let next = at.inside.find((inner) => inner.field === field)?.wanted;
    if (next === undefined) at.inside.push({ field, wanted: next = node(at, field, -1) });
    add(next, names.slice(1), column);
  } else at.inside.push({ field, wanted: node(at, field, column) });
}

function node(parent: Wanted, field: RecordField, column: number): Wanted {
  const path = parent.path === "" ? field.name : `${parent.path}.${field.name}`;
  return { ...withoutNull(field.type), path, column, inside: [] };
}

function missing(wanted: Wanted, field: RecordField, writerPath: string): string | null {
  const place = writerPath === "" ? "the writer's schema" : `the writer's ${writerPath}`;
  if (field.default === undefined) {
    return `${place} has no ${field.name}, and the reader's ${wanted.path} has no default`;
  }
  try {
    defaultsOf(wanted, field);
    return null;
  } catch (error) {
    return `${place} has no ${field.name}, and for the reader's ${wanted.path} ${(error as Error).message}`;
  }
}

function words(type: FieldType): string {
  const name = type.type === "decimal" ? `decimal(${type.precision}, ${type.scale})` : type.type;
  return type.nullable ? `${name} or null` : name;
}

function sameColumn(a: FieldType, b: FieldType): boolean {
  if (words(a) !== words(b)) return false;
  if (a.type !== "enum" || b.type !== "enum") return true;
  return a.symbols.length === b.symbols.length && a.symbols.every((symbol, i) => symbol === b.symbols[i]);
}
