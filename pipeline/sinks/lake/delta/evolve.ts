/**
 * What becomes of a table's schema when rows of another come.
 *
 *     have    id long,    amount decimal(18,2), note string
 *     want    id long,    amount decimal(20,4),              city string
 *     becomes id long,    amount decimal(20,4), note string, city string      amount is wider: files are written anew
 *
 * @module
 */
import { DECIMAL_DIGITS_MAX } from "../../../columns.ts";
import { changesTypes, decimalOf, schemaText } from "./schema.ts";
import type { DeltaField, DeltaSchema, DeltaType } from "./table.ts";

/** `added`: the schema alone changes. `widened`: files have to be written anew, see {@linkcode widenTable}. */
export type Evolution =
  | { readonly kind: "same"; readonly schema: DeltaSchema }
  | { readonly kind: "added"; readonly schema: DeltaSchema }
  | { readonly kind: "widened"; readonly schema: DeltaSchema }
  | { readonly kind: "impossible"; readonly problem: string };

/** Whole numbers from narrow to wide, with the decimal digits that each may have. */
const WHOLE: readonly (readonly [DeltaType, number])[] = [["byte", 3], ["short", 5], ["integer", 10], ["long", 19]];

/**
 * The least schema that holds rows of both. Columns of `have` come first, in their order, and none is dropped; new ones are
 * nullable. A long beside a double becomes a double, as Avro has it.
 */
export function evolve(have: DeltaSchema, want: DeltaSchema): Evolution {
  const both = commonType(have, want, "");
  if ("problem" in both) return { kind: "impossible", problem: both.problem };
  const schema = both.type as DeltaSchema;
  if (schemaText(schema) === schemaText(have)) return { kind: "same", schema: have };
  return { kind: changesTypes(have, schema) ? "widened" : "added", schema };
}

type Common = { readonly type: DeltaType } | { readonly problem: string };

function commonType(have: DeltaType, want: DeltaType, where: string): Common {
  if (typeof have === "string" && typeof want === "string") {
    const type = commonSimple(have, want);
    return type === null ? { problem: `${where} is ${have}, and ${want} does not fit beside it` } : { type };
  }
  if (typeof have !== "string" && typeof want !== "string") {
    if (have.type === "struct" && want.type === "struct") return commonStruct(have, want, where);
    if (have.type === "array" && want.type === "array") {
      const element = commonType(have.elementType, want.elementType, `${where}[]`);
      if ("problem" in element) return element;
      const containsNull = have.containsNull || want.containsNull;
      return { type: { type: "array", elementType: element.type, containsNull } };
    }
    if (have.type === "map" && want.type === "map") {
      const key = commonType(have.keyType, want.keyType, `${where}'s keys`);
      const value = commonType(have.valueType, want.valueType, `${where}'s values`);
      if ("problem" in key) return key;
      if ("problem" in value) return value;
      const valueContainsNull = have.valueContainsNull || want.valueContainsNull;
      return { type: { type: "map", keyType: key.type, valueType: value.type, valueContainsNull } };
    }
  }
  return { problem: `${where} is ${nameOf(have)}, and ${nameOf(want)} does not fit beside it` };
}

function commonStruct(
  have: DeltaSchema,
  want: DeltaSchema,
  where: string,
): Common {
  const path = (name: string) => where === "" ? name : `${where}.${name}`;
  // Readers ignore case, so a column may come only once but for it.
  const left = new Map(want.fields.map((field) => [field.name.toLowerCase(), field]));
  const fields: DeltaField[] = [];
  for (const field of have.fields) {
    const other = left.get(field.name.toLowerCase());
    left.delete(field.name.toLowerCase());
    const both: Common = other === undefined ? field : commonType(field.type, other.type, path(field.name));
    if ("problem" in both) return both;
    fields.push({ ...field, type: both.type, nullable: field.nullable || other === undefined || other.nullable });
  }
  for (const field of left.values()) fields.push({ ...field, nullable: true });
  return { type: { type: "struct", fields } };
}

function commonSimple(have: string, want: string): DeltaType | null {
  if (have === want) return have as DeltaType;
  const [a, b] = [have as DeltaType, want as DeltaType];
  const [wholeA, wholeB] = [WHOLE.find(([type]) => type === a), WHOLE.find(([type]) => type === b)];
  if (wholeA && wholeB) return wholeA[1] > wholeB[1] ? a : b;
  const isFloating = (type: DeltaType) => type === "float" || type === "double";
  if ((isFloating(a) || wholeA) && (isFloating(b) || wholeB)) return "double";
  const decimalA = decimalOf(a) ?? (wholeA ? { precision: wholeA[1], scale: 0 } : null);
  const decimalB = decimalOf(b) ?? (wholeB ? { precision: wholeB[1], scale: 0 } : null);
  if (decimalA === null || decimalB === null) return null;
  const scale = Math.max(decimalA.scale, decimalB.scale);
  const precision = scale + Math.max(decimalA.precision - decimalA.scale, decimalB.precision - decimalB.scale);
  return precision > DECIMAL_DIGITS_MAX ? null : `decimal(${precision},${scale})`;
}

function nameOf(type: DeltaType): string {
  return typeof type === "string" ? type : `a ${type.type}`;
}
