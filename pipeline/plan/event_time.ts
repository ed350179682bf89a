import type { FieldType } from "../columns.ts";
import type { FieldSet } from "./field_set.ts";
import { showType } from "./sql_types.ts";

/** The index in `fields` of the field that says when a record happened, or why it is none. */
export function eventTimeField(fields: FieldSet, path: unknown): number | string {
  if (typeof path !== "string") return "name the field that says when a record happened";
  const found = fields.find(path);
  if (typeof found === "string") return found;
  if (isEventTime(found.type)) return found.field;
  const others = fields.like(isEventTime);
  return `${path} is a ${showType(found.type)}, not a timestamp, date or long (milliseconds); those are: ${others}`;
}

function isEventTime({ type }: FieldType): boolean {
  return type === "timestamp-millis" || type === "timestamp-micros" || type === "date" || type === "long";
}
