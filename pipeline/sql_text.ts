/**
 * Names and texts as SQL has them in quotes, in PostgreSQL and in DuckDB alike.
 *
 * @module
 */

/** A quoted identifier: `a"b` becomes `"a""b"`. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A quoted string literal, for statements that take no parameters. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
