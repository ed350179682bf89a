/**
 * Whether records written with one Avro schema can be read with another: schema resolution of the Avro specification
 * (1.12), with the liberties that Apache Avro's own checker takes, which Confluent's registry uses: logical types are not
 * looked at, and names are compared without their namespaces.
 *
 * @module
 */
import {
  type AvroType,
  describe,
  type EnumType,
  type RecordType,
  type UnionType,
} from "../../pipeline/codec/parse_schema.ts";
import { kindMatches } from "../../pipeline/codec/resolve.ts";

export const LEVELS = [
  "NONE",
  "BACKWARD",
  "BACKWARD_TRANSITIVE",
  "FORWARD",
  "FORWARD_TRANSITIVE",
  "FULL",
  "FULL_TRANSITIVE",
] as const;

/** BACKWARD: the new schema reads old records. FORWARD: old schemas read new records. Transitive: all earlier versions, not the last only. */
export type Level = typeof LEVELS[number];

/** At most this many reasons are given; one is enough to refuse. */
export const REASONS_MAX = 20;

/** Why `schema` may not follow `earlier` (oldest first) at this level; empty when it may. */
export function incompatibilities(schema: AvroType, earlier: readonly AvroType[], level: Level): string[] {
  const against = level.endsWith("_TRANSITIVE") ? earlier.toReversed() : earlier.slice(-1);
  const reasons: string[] = [];
  for (const old of against) {
    if (level.startsWith("BACKWARD") || level.startsWith("FULL")) {
      reasons.push(...unreadable(old, schema).map((reason) => `the new schema cannot read earlier records: ${reason}`));
    }
    if (level.startsWith("FORWARD") || level.startsWith("FULL")) {
      reasons.push(...unreadable(schema, old).map((reason) => `an earlier schema cannot read new records: ${reason}`));
    }
  }
  return reasons.slice(0, REASONS_MAX);
}

/** Why records of `writer` cannot be read as `reader`; empty when they can. */
export function unreadable(writer: AvroType, reader: AvroType): string[] {
  return new Check().compare(writer, reader, "").slice(0, REASONS_MAX);
}

class Check {
  /** Pairs of records and unions already compared or being compared: recursive schemas end here, and each pair costs once. */
  readonly #seen = new Map<AvroType, Map<AvroType, string[]>>();

  compare(writer: AvroType, reader: AvroType, path: string): string[] {
    const composite = writer.kind === "record" || writer.kind === "union" || reader.kind === "union";
    if (!composite) return this.#compare(writer, reader, path);
    let pairs = this.#seen.get(writer);
    if (pairs === undefined) this.#seen.set(writer, pairs = new Map());
    const known = pairs.get(reader);
    if (known !== undefined) return known;
    // While a pair is being compared it counts as readable: what it contains decides.
    pairs.set(reader, []);
    const reasons = this.#compare(writer, reader, path);
    pairs.set(reader, reasons);
    return reasons;
  }

  #compare(writer: AvroType, reader: AvroType, path: string): string[] {
    const at = path === "" ? "" : `${path}: `;
    if (writer.kind === "union") {
      return writer.branches.flatMap((branch) => this.compare(branch, reader, path));
    }
    if (reader.kind === "union") return this.#intoUnion(writer, reader, path);
    if (writer.kind === "record" && reader.kind === "record") return this.#records(writer, reader, path);
    if (writer.kind === "enum" && reader.kind === "enum") return enums(writer, reader, at);
    if (writer.kind === "array" && reader.kind === "array") {
      return this.compare(writer.items, reader.items, `${path}[]`);
    }
    if (writer.kind === "map" && reader.kind === "map") return this.compare(writer.values, reader.values, `${path}{}`);
    if (writer.kind === "fixed" && reader.kind === "fixed") {
      if (!sameName(writer, reader)) return [`${at}fixed ${writer.name} is not ${reader.name}`];
      return writer.size === reader.size
        ? []
        : [`${at}fixed ${reader.name} has ${reader.size} bytes, was ${writer.size}`];
    }
    return kindMatches(writer, reader) ? [] : [`${at}${describe(writer)} cannot be read as ${describe(reader)}`];
  }

  #intoUnion(writer: AvroType, reader: UnionType, path: string): string[] {
    for (const branch of reader.branches) {
      if (this.compare(writer, branch, path).length === 0) return [];
    }
    return [`${path === "" ? "" : `${path}: `}${describe(writer)} has no counterpart in the ${describe(reader)}`];
  }

  #records(writer: RecordType, reader: RecordType, path: string): string[] {
    const at = path === "" ? "" : `${path}: `;
    if (!sameName(writer, reader)) return [`${at}record ${writer.name} is not ${reader.name}`];
    return reader.fields.flatMap((field) => {
      const inner = path === "" ? field.name : `${path}.${field.name}`;
      const written = writer.fields.find(({ name }) => name === field.name) ??
        writer.fields.find(({ name }) => field.aliases.includes(name));
      if (written !== undefined) return this.compare(written.type, field.type, inner);
      return field.default === undefined ? [`${inner}: the writer has no such field and it has no default`] : [];
    });
  }
}

function enums(writer: EnumType, reader: EnumType, at: string): string[] {
  if (!sameName(writer, reader)) return [`${at}enum ${writer.name} is not ${reader.name}`];
  if (reader.default !== null) return [];
  const missing = writer.symbols.filter((symbol) => !reader.symbols.includes(symbol));
  return missing.length === 0 ? [] : [`${at}enum ${reader.name} lacks ${missing.join(", ")} and has no default`];
}

function sameName(
  writer: { readonly name: string },
  reader: { readonly name: string; readonly aliases: readonly string[] },
): boolean {
  const simple = (name: string) => name.slice(name.lastIndexOf(".") + 1);
  return simple(writer.name) === simple(reader.name) || reader.aliases.includes(writer.name);
}
