import { fieldTypes, projectableField } from "../codec/schema.ts";
import type { FieldType } from "../columns.ts";
import type { AvroSchema, PlanField } from "./plan.ts";

/** The fields that a plan reads, each once, in the order they were first asked for. */
export class FieldSet {
  readonly fields: PlanField[] = [];
  readonly #schema: AvroSchema;
  readonly #indexes = new Map<string, number>();

  constructor(schema: AvroSchema) {
    this.#schema = schema;
  }

  /** The field's index and type, or why there is no such column. */
  find(path: string): { readonly field: number; readonly type: FieldType } | string {
    const known = this.#indexes.get(path);
    if (known !== undefined) return { field: known, type: this.fields[known].type };
    const type = projectableField(this.#schema, path);
    if (typeof type === "string") return type.startsWith("no field") || path === "" ? type : `${path} ${type}`;
    const field = this.fields.push({ path, type }) - 1;
    this.#indexes.set(path, field);
    return { field, type };
  }

  /** Paths of the fields for which `fits` holds, for telling what could have been meant. */
  like(fits: (type: FieldType) => boolean): string {
    const paths = [...fieldTypes(this.#schema)].filter(([, type]) => fits(type)).map(([path]) => path);
    return paths.length === 0 ? "none" : paths.slice(0, 8).join(", ") + (paths.length > 8 ? ", ..." : "");
  }
}
