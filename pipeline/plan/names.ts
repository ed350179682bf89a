/** Which names a definition may give. Each function gives null, or what is wrong with the name. @module */

/** Result columns that are always there, in the table, the topic or the view beside it. */
export const RESERVED_COLUMNS: readonly string[] = [
  "window_start",
  "window_end",
  "window_date",
  "revision",
  "final",
  "is_final",
  "updated_at",
];

/** Topics beside a topic are called like it with `.late` or `.dead` at the end, which has to fit Kafka's 249. */
const TOPIC_CHARACTERS_MAX = 244;

export function pipelineNameFault(name: unknown): string | null {
  if (typeof name === "string" && /^[a-z][a-z0-9_]{0,47}$/.test(name)) return null;
  return `${quote(name)} is not a name: 1 to 48 of a-z, 0-9 and _, a letter first`;
}

/** A key column is called like its field, so it may be whatever Avro allows but for the reserved names. */
export function keyNameFault(name: string): string | null {
  if (!RESERVED_COLUMNS.includes(name.toLowerCase())) return null;
  return `${quote(name)} is the name of a column that every result has (${
    RESERVED_COLUMNS.join(", ")
  }): choose another`;
}

/** The name of a selected result. */
export function columnNameFault(name: string): string | null {
  if (keyNameFault(name) !== null) return keyNameFault(name);
  if (/^[a-z_][a-z0-9_]{0,62}$/.test(name)) return null;
  return `${quote(name)} is not a column name: 1 to 63 of a-z, 0-9 and _, no digit first`;
}

export function topicNameFault(name: unknown): string | null {
  const valid = typeof name === "string" && /^[a-zA-Z0-9._-]+$/.test(name) && name !== "." && name !== "..";
  if (valid && name.length <= TOPIC_CHARACTERS_MAX) return null;
  return `${quote(name)} is not a topic name: 1 to ${TOPIC_CHARACTERS_MAX} of a-z, A-Z, 0-9, . _ and -`;
}

export function tableNameFault(name: unknown): string | null {
  if (typeof name === "string" && /^([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}$/.test(name)) return null;
  return `${
    quote(name)
  } is not a table name: 1 to 63 of a-z, 0-9 and _, no digit first, with or without a schema before it`;
}

/** A folder of the lake and a name in SQL; a `_` in front would hide it from other readers. */
export function lakeTableFault(name: unknown): string | null {
  if (typeof name === "string" && /^[a-z][a-z0-9_]{0,62}$/.test(name)) return null;
  return `${quote(name)} is not a name for a table of the lake: 1 to 63 of a-z, 0-9 and _, a letter first`;
}

function quote(name: unknown): string {
  return JSON.stringify(name) ?? String(name);
}
