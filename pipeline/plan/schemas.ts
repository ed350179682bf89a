/**
 * The Avro schemas of a folder, by file name.
 *
 * @module
 */
import { fieldTypes } from "../codec/schema.ts";
import { ConfigError, type Fault } from "../errors.ts";
import type { AvroSchema } from "./plan.ts";

/** Schemas by name: `transaction` is the one in transaction.avsc. */
export type SchemaMap = ReadonlyMap<string, AvroSchema>;

/**
 * Every `.avsc` file of the folder, in order of name.
 *
 * @throws ConfigError naming each file that is not an Avro record, or the folder if it is missing
 */
export async function readSchemas(dir: string): Promise<Map<string, AvroSchema>> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(dir)) {
      if (entry.isFile && entry.name.endsWith(".avsc")) names.push(entry.name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new ConfigError({
      where: dir,
      problem: "there is no such folder; Avro schemas (.avsc) are looked for there",
    });
  }
  const faults: Fault[] = [];
  const schemas = new Map<string, AvroSchema>();
  for (const name of names.sort()) {
    try {
      const schema = JSON.parse(await Deno.readTextFile(`${dir}/${name}`)) as AvroSchema;
      fieldTypes(schema);
      schemas.set(name.slice(0, -".avsc".length), schema);
    } catch (error) {
      if (error instanceof ConfigError) {
        faults.push(
          ...error.faults.map(({ where, problem }) => ({ where: `${dir}/${name}`, problem: `${where} ${problem}` })),
        );
      } else if (error instanceof SyntaxError) {
        faults.push({ where: `${dir}/${name}`, problem: `is not JSON: ${error.message}` });
      } else throw error;
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return schemas;
}
