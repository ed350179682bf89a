/**
 * Which days a question can need of a table, read off its conditions: a lake that is far away then sends no files of other days.
 * What is not understood narrows nothing.
 *
 * @module
 */
import type { PartitionRange } from "./catalog.ts";
import type { TreeNode } from "./question.ts";

const DAY = /^\d{4}-\d\d-\d\d$/;
/** Conditions looked at. */
const CONDITIONS_MAX = 100;

/** Ranges by column that the rows of `table`, which a SELECT reads by itself, have to be in to pass its WHERE. */
export function dayRanges({ from_table: table, where_clause: where }: TreeNode): readonly PartitionRange[] {
  const { table_name: name, alias, column_name_alias: renamed } = table as TreeNode;
  if (renamed !== undefined) return []; // `lake.x t(day, ..)`: a day may be anything
  const called = String(alias ?? name).toLowerCase();
  const ranges: PartitionRange[] = [];
  const open: unknown[] = [where];
  for (let seen = 0; open.length > 0 && seen < CONDITIONS_MAX; seen++) {
    const node = (open.pop() ?? {}) as TreeNode;
    if (node.type === "CONJUNCTION_AND") open.push(...node.children as unknown[]);
    else ranges.push(...rangesOf(node, called));
  }
  return ranges;
}

function rangesOf(node: TreeNode, table: string): PartitionRange[] {
  if (node.type === "COMPARE_BETWEEN") {
    const [column, from, to] = [columnOf(node.input, table), dayOf(node.lower), dayOf(node.upper)];
    return column === null || from === null || to === null ? [] : [{ column, from, to }];
  }
  if (node.class !== "COMPARISON") return [];
  const [left, right] = [columnOf(node.left, table), columnOf(node.right, table)];
  const column = left ?? right;
  const day = dayOf(left === null ? node.left : node.right);
  if (column === null || day === null) return [];
  switch (node.type) {
    case "COMPARE_EQUAL":
      return [{ column, from: day, to: day }];
    case "COMPARE_GREATERTHAN":
    case "COMPARE_GREATERTHANOREQUALTO":
      return [left === null ? { column, to: day } : { column, from: day }];
    case "COMPARE_LESSTHAN":
    case "COMPARE_LESSTHANOREQUALTO":
      return [left === null ? { column, from: day } : { column, to: day }];
    default:
      return [];
  }
}

/** A column's name as the tables have them; null where it may be another table's, or a field of a column. */
function columnOf(node: unknown, table: string): string | null {
  const { class: kind, column_names: names } = (node ?? {}) as TreeNode;
  if (kind !== "COLUMN_REF" || !Array.isArray(names)) return null;
  if (names.length === 1) return String(names[0]);
  return names.length === 2 && String(names[0]).toLowerCase() === table ? String(names[1]) : null;
}

/** The day of `'2026-11-21'` or `DATE '2026-11-21'`. */
function dayOf(node: unknown): string | null {
  const { class: kind, value, child, cast_type: type } = (node ?? {}) as TreeNode;
  if (kind === "CAST" && (type as TreeNode).id === "DATE") return dayOf(child);
  if (kind !== "CONSTANT") return null;
  const text = (value as TreeNode).value;
  return typeof text === "string" && DAY.test(text) ? text : null;
}
