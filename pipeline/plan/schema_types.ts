/**
 * Writes `schemas/mod.ts`: for each schema, which fields it has and of what type, so that the TypeScript compiler can refuse a
 * misspelt field or the sum of a text. Run by `deno task schemas`.
 *
 * @module
 */
import { fieldTypes } from "../codec/schema.ts";
import { readSchemas, type SchemaMap } from "./schemas.ts";

/** The file written beside the schemas. */
export const TYPES_FILE = "mod.ts";

/** The text of the file: already formatted as `deno fmt` would. */
export function schemaTypes(schemas: SchemaMap): string {
  const sections = [...schemas].map(([name, schema]) => {
    const fields = [...fieldTypes(schema)].map(([path, { type }]) =>
      `    readonly ${propertyName(path)}: "${type}";\n`
    );
    return `  /** Fields of ${name}.avsc, by path. */\n  readonly ${propertyName(name)}: {\n${fields.join("")}  };\n`;
  });
  return `// Written by \`deno task schemas\` from the .avsc files beside it. Change those, not this.

/** What the compiler knows of the schemas: each field's path and type. Fields that cannot become a column are left out. */
export interface Schemas {
${sections.join("")}}
`;
}

/** Whether the file in the folder says what the schemas say. */
export async function schemaTypesAreFresh(dir: string, schemas: SchemaMap): Promise<boolean> {
  try {
    return await Deno.readTextFile(`${dir}/${TYPES_FILE}`) === schemaTypes(schemas);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function propertyName(name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
}

if (import.meta.main) {
  const dir = Deno.args[0] ?? "schemas";
  const schemas = await readSchemas(dir);
  await Deno.writeTextFile(`${dir}/${TYPES_FILE}`, schemaTypes(schemas));
  console.log(`${dir}/${TYPES_FILE}: ${[...schemas.keys()].join(", ")}`);
}
