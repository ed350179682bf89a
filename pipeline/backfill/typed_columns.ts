/**
 * An archive's columns as the columns a plan was made for.
 *
 * @module
 */
import { columnOf, readerFields } from "../audit/reader_fields.ts";
import { ConfigError } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import type { DeltaSchema } from "../sinks/lake/delta/table.ts";
import { identifier } from "../sql_text.ts";

/** A record's part of the columns wanted: SQL of leaves by name, and records in it. */
type Tree = Map<string, string | Tree>;

export interface TypedColumns {
  /** A select list over the archive, named `a`, that gives the plan's fields by their names and types, nested ones in structs. */
  readonly sql: string;
  /** The event time, in the plan's type, of an archive named `a`. */
  readonly eventTime: string;
  /** Whether it is an instant in the archive, too, so that its bounds say what may be passed over. */
  readonly isInstant: boolean;
  /** Why what is read so may not be what the pipeline read; null when it is the same. */
  readonly doubt: string | null;
}

/** @throws ConfigError naming what the archive does not have */
export function typedColumns(plan: Plan, schema: DeltaSchema, table: string): TypedColumns {
  const { expressions, fault, doubt } = readerFields(plan, schema);
  const { path } = plan.fields[plan.eventTime];
  const timed = columnOf(schema, path);
  // Null by default, it would do for a field; without it no record has a place.
  const problem = fault ?? (timed === null ? `it has no column ${path}` : null);
  if (problem !== null) {
    throw new ConfigError({ where: `lake.${table}`, problem: `cannot be read by ${plan.name}: ${problem}` });
  }
  const tree: Tree = new Map();
  plan.fields.forEach(({ path }, index) => {
    const names = path.split(".");
    const last = names.pop()!;
    let at = tree;
    for (const name of names) {
      if (!at.has(name)) at.set(name, new Map());
      at = at.get(name) as Tree;
    }
    at.set(last, expressions[index]);
  });
  return {
    sql: Array.from(tree, ([name, part]) => `${partSql(part)} AS ${identifier(name)}`).join(", "),
    eventTime: expressions[plan.eventTime],
    isInstant: timed === "timestamp",
    doubt,
  };
}

function partSql(part: string | Tree): string {
  if (typeof part === "string") return part;
  return `struct_pack(${Array.from(part, ([name, inner]) => `${identifier(name)} := ${partSql(inner)}`).join(", ")})`;
}
