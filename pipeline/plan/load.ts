/**
 * The pipelines of a folder: every `.ts` file in it exports one by default.
 *
 * @module
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Definition } from "../definition.ts";
import { ConfigError, type Fault } from "../errors.ts";
import { planOf } from "./compile.ts";
import type { Plan } from "./plan.ts";
import { schemaTypesAreFresh } from "./schema_types.ts";
import { readSchemas, type SchemaMap } from "./schemas.ts";

export interface LoadedStream {
  /** File name in the folder, such as `account_minute.ts`. */
  readonly file: string;
  readonly definition: Definition;
  readonly plan: Plan;
}

export interface LoadOptions {
  /** Names of the pipelines wanted; all when empty or left out. */
  readonly only?: readonly string[];
  /** Folder of the Avro schemas; `schemas` beside the streams' folder unless told. */
  readonly schemas?: string;
}

/**
 * The definitions and plans of the folder's pipelines, in order of file name. Reads files, runs nothing.
 *
 * @throws ConfigError with the faults of all of them, also where two use one name, table or topic
 */
export async function loadStreams(dir: string, options: LoadOptions = {}): Promise<LoadedStream[]> {
  const { streams, faults } = await inspect(dir, options);
  if (faults.length > 0) throw new ConfigError(faults);
  return streams;
}

/** Everything in the folder that can be planned, and everything that is wrong with the rest. */
export async function inspect(
  dir: string,
  options: LoadOptions = {},
): Promise<{ readonly streams: LoadedStream[]; readonly faults: Fault[] }> {
  const root = await absolute(dir);
  const faults: Fault[] = [];
  const schemasDir = options.schemas ?? join(root, "..", "schemas");
  const schemas = await collect(faults, () => readSchemas(schemasDir)) ?? new Map();
  const found: { file: string; definition: Definition }[] = [];
  for (const file of await files(root)) {
    const definition = await collect(faults, () => importDefinition(root, file));
    if (definition !== null) found.push({ file, definition });
  }
  const { only = [] } = options;
  const names = found.map(({ definition }) => definition.name);
  for (const name of only.filter((name) => !names.includes(name))) {
    faults.push({
      where: `pipelines: ${name}`,
      problem: `there is no such pipeline; ${dir} has ${names.join(", ") || "none"}`,
    });
  }
  if (found.length === 0 && faults.length === 0) {
    faults.push({ where: dir, problem: "there is no pipeline (.ts) in it" });
  }
  const wanted = only.length === 0 ? found : found.filter(({ definition }) => only.includes(definition.name));
  const streams: LoadedStream[] = [];
  for (const { file, definition } of wanted) {
    const plan = await collect(faults, () => planOf(definition, schemas));
    if (plan !== null) streams.push({ file, definition, plan });
  }
  faults.push(...clashes(streams));
  return { streams, faults };
}

/** What is wrong with the generated types beside the schemas, if anything is. */
export async function staleTypes(dir: string, schemas: SchemaMap): Promise<Fault | null> {
  if (await schemaTypesAreFresh(dir, schemas)) return null;
  return { where: `${dir}/mod.ts`, problem: "does not say what the .avsc files say: run `deno task schemas`" };
}

async function absolute(dir: string): Promise<string> {
  try {
    return await Deno.realPath(dir);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new ConfigError({ where: dir, problem: "there is no such folder; pipelines (.ts) are looked for there" });
  }
}

async function files(dir: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, isFile } of Deno.readDir(dir)) if (isFile && name.endsWith(".ts")) names.push(name);
  return names.sort();
}

/** The result, or null with the faults of its ConfigError gathered. */
async function collect<T>(faults: Fault[], work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    faults.push(...error.faults);
    return null;
  }
}

async function importDefinition(dir: string, file: string): Promise<Definition> {
  let exported: { default?: unknown };
  try {
    exported = await import(pathToFileURL(join(dir, file)).href);
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new ConfigError({ where: file, problem: `cannot be imported: ${line}` });
  }
  const definition = exported.default as Partial<Definition> | undefined;
  if (definition?.kind === "pipeline") return definition as Definition;
  throw new ConfigError({ where: file, problem: "has no pipeline: `export default pipeline({ .. })`" });
}

/** Two pipelines must not share a name, a table or a topic of results. */
function clashes(streams: readonly LoadedStream[]): Fault[] {
  const owners = new Map<string, string>();
  const faults: Fault[] = [];
  for (const { file, plan } of streams) {
    const claims = [
      `the name ${plan.name}`,
      ...plan.sinks.map((sink) => sink.kind === "postgres" ? `postgres("${sink.table}")` : `kafka("${sink.topic}")`),
    ];
    for (const claim of claims) {
      const owner = owners.get(claim);
      if (owner === undefined) owners.set(claim, file);
      else if (owner !== file) faults.push({ where: plan.name, problem: `${claim} in ${file} is taken by ${owner}` });
    }
  }
  return faults;
}
