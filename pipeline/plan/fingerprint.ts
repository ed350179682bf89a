import type { Plan } from "./plan.ts";

/**
 * SHA-256 (hex) over the canonical JSON (object keys in order) of everything in a plan that decides results: not its name,
 * sinks, archive, partitions, how often it publishes or when it stops for dead letters, and not the schema's documentation.
 */
export async function fingerprintOf(plan: Omit<Plan, "fingerprint">): Promise<string> {
  const { name: _name, sinks: _sinks, archive: _archive, emitEveryMs: _emit, ...others } = plan;
  const { partitions: _partitions, deadLetters: _stop, where, schema, ...rest } = others;
  const deciding = { ...rest, where: where && where.expression, schema: withoutDoc(schema) };
  const bytes = new TextEncoder().encode(canonicalJson(deciding));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return digest.toHex();
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0));
  });
}

/** A schema's `doc` attributes say nothing about its values; inside a `default`, a key `doc` is a value. */
function withoutDoc(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDoc);
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).filter(([key]) => key !== "doc").map((
      [key, value],
    ) => [key, key === "default" ? value : withoutDoc(value)]),
  );
}
