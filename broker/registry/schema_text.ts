/**
 * When two schema texts are the same schema.
 *
 * @module
 */

/** A JSON value whose numbers are kept as they were written: a long default beyond 2^53 must not change. */
export type Json = null | boolean | string | RawNumber | Json[] | { [name: string]: Json };

/** What `JSON.rawJSON` returns: `JSON.stringify` writes its text as it is. */
interface RawNumber {
  readonly rawJSON: string;
}

// ECMAScript's JSON.parse source text access, which TypeScript's library does not describe yet.
const json = JSON as unknown as {
  parse(text: string, reviver: (name: string, value: unknown, context: { source: string }) => unknown): Json;
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
};

/** Parses a schema's text. A text that is a bare name, `string`, is that name. @throws SyntaxError when it is not JSON */
export function parseText(text: string): Json {
  if (/^[A-Za-z_][A-Za-z0-9_.]*$/.test(text.trim()) && !["true", "false", "null"].includes(text.trim())) {
    return text.trim();
  }
  if (text.trim() === "null") return "null";
  return json.parse(text, (_, value, { source }) => typeof value === "number" ? json.rawJSON(source) : value);
}

/** The schema without insignificant blanks, its attributes in their order. */
export function compactText(schema: Json): string {
  return JSON.stringify(schema);
}

/**
 * A text that is equal for equal schemas: attributes sorted by name, `{"type": "int"}` written `"int"`. Documentation,
 * defaults and other attributes count, as in Confluent's registry.
 */
export function identity(schema: Json): string {
  return JSON.stringify(sorted(schema));
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const names = Object.keys(value);
  if (names.length === 1 && names[0] === "type") return sorted(value.type);
  return Object.fromEntries(names.sort().map((name) => [name, sorted(value[name])]));
}

function isObject(value: Json): value is { [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !json.isRawJSON(value);
}

/**
 * The schema with every name written in full and no namespaces, attributes sorted: what `normalize=true` stores and
 * compares.
 */
export function normalized(schema: Json): Json {
  return sorted(withFullNames(schema, "", new Set()));
}

function withFullNames(schema: Json, namespace: string, known: Set<string>): Json {
  if (typeof schema === "string") {
    const full = qualify(schema, namespace);
    return known.has(full) ? full : schema;
  }
  if (Array.isArray(schema)) return schema.map((branch) => withFullNames(branch, namespace, known));
  if (!isObject(schema)) return schema;
  const { type } = schema;
  if (type === "array") return { ...schema, items: withFullNames(schema.items, namespace, known) };
  if (type === "map") return { ...schema, values: withFullNames(schema.values, namespace, known) };
  if (typeof type !== "string" || !["record", "error", "enum", "fixed"].includes(type)) {
    return { ...schema, type: withFullNames(type, namespace, known) };
  }
  const own = typeof schema.namespace === "string" ? schema.namespace : namespace;
  const name = qualify(String(schema.name), own);
  known.add(name);
  const inside = name.slice(0, Math.max(0, name.lastIndexOf(".")));
  const { namespace: _, ...rest } = schema;
  const fields = Array.isArray(rest.fields)
    ? rest.fields.map((field) => isObject(field) ? { ...field, type: withFullNames(field.type, inside, known) } : field)
    : rest.fields;
  return { ...rest, name, ...(fields === undefined ? {} : { fields }) };
}

function qualify(name: string, namespace: string): string {
  return name.includes(".") || namespace === "" ? name : `${namespace}.${name}`;
}
