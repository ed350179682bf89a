import { parseSchema } from "../../codec/schema.ts";
import type { Fault } from "../../errors.ts";
import type { AvroSchema } from "../../plan/plan.ts";
import type { HttpPollOptions } from "./definition.ts";
import { parseJsonPath } from "./json_path.ts";

/** What is wrong with a `map` of fields of the schema. */
export function mapFaults(map: NonNullable<HttpPollOptions["map"]>, schema: AvroSchema): Fault[] {
  const type = parseSchema(schema);
  const names = type.kind === "record" ? type.fields.map(({ name }) => name) : [];
  return Object.entries(map).flatMap(([name, from]) => {
    const where = `from.map.${name}`;
    if (!names.includes(name)) return [{ where, problem: `is no field of the schema; there are ${names.join(", ")}` }];
    if (typeof from !== "string") {
      return "constant" in (from ?? {}) ? [] : [{ where, problem: "is neither a path nor constant(..)" }];
    }
    const found = parseJsonPath(from);
    return typeof found === "string" ? [{ where, problem: found }] : [];
  });
}
