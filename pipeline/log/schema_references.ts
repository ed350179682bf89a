/**
 * Avro schemas that refer to types registered under other subjects, made whole.
 *
 * @module
 */
import type { AvroSchema } from "../plan/plan.ts";

/** A referenced schema and the full name it is known by. */
export interface Named {
  readonly name: string;
  readonly schema: AvroSchema;
}

/**
 * The schema with each referenced type written out where its name first occurs. A type that several references bring along
 * is defined once.
 */
export function withReferences(schema: AvroSchema, referenced: readonly Named[]): AvroSchema {
  if (referenced.length === 0) return schema;
  return new Inliner(new Map(referenced.map(({ name, schema }) => [name, schema]))).write(schema, "") as AvroSchema;
}

type Json = Record<string, unknown>;

class Inliner {
  readonly #referenced: ReadonlyMap<string, AvroSchema>;
  readonly #defined = new Set<string>();

  constructor(referenced: ReadonlyMap<string, AvroSchema>) {
    this.#referenced = referenced;
  }

  write(schema: unknown, namespace: string): unknown {
    if (typeof schema === "string") return this.#name(schema, namespace);
    if (Array.isArray(schema)) return schema.map((branch) => this.write(branch, namespace));
    if (typeof schema !== "object" || schema === null) return schema;
    const json = schema as Json;
    switch (json.type) {
      case "array":
        return { ...json, items: this.write(json.items, namespace) };
      case "map":
        return { ...json, values: this.write(json.values, namespace) };
      case "record":
      case "error":
      case "enum":
      case "fixed":
        return this.#definition(json, namespace);
      default:
        return { ...json, type: this.write(json.type, namespace) };
    }
  }

  #name(name: string, namespace: string): unknown {
    const full = qualify(name, namespace);
    const [known, found] = this.#referenced.has(full)
      ? [full, this.#referenced.get(full)]
      : [name, this.#referenced.get(name)];
    if (found === undefined || this.#defined.has(known)) return name;
    // Written in the empty namespace: what it says of its own names must not depend on where it lands.
    return this.write(found, "");
  }

  #definition(json: Json, namespace: string): unknown {
    const full = qualify(String(json.name), typeof json.namespace === "string" ? json.namespace : namespace);
    if (this.#defined.has(full)) return full;
    this.#defined.add(full);
    const inside = full.slice(0, Math.max(0, full.lastIndexOf(".")));
    const { namespace: _, ...rest } = json;
    const fields = Array.isArray(json.fields)
      ? json.fields.map((field: Json) => ({ ...field, type: this.write(field.type, inside) }))
      : undefined;
    return { ...rest, name: full, ...(inside === "" ? { namespace: "" } : {}), ...(fields ? { fields } : {}) };
  }
}

function qualify(name: string, namespace: string): string {
  return name.includes(".") || namespace === "" ? name : `${namespace}.${name}`;
}
