/**
 * The definitions of a folder: every `.ts` file in it exports a pipeline, a source or a delivery by default.
 *
 * @module
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Definition } from "../definition.ts";
import type { DeliveryDefinition } from "../deliveries/definition.ts";
import { deliveryKind, type DeliveryPlan } from "../deliveries/delivery_spec.ts";
import { planDelivery } from "../deliveries/plan.ts";
import { ConfigError, type Fault } from "../errors.ts";
import type { SourceDefinition } from "../sources/definition.ts";
import { planSource } from "../sources/plan.ts";
import type { SourcePlan } from "../sources/source_spec.ts";
import { planOf } from "./compile.ts";
import { type ArchiveSpec, type Plan, targetOf } from "./plan.ts";
import { schemaTypesAreFresh } from "./schema_types.ts";
import { readSchemas, type SchemaMap } from "./schemas.ts";

export interface LoadedStream {
  /** File name in the folder, such as `account_minute.ts`. */
  readonly file: string;
  readonly definition: Definition;
  readonly plan: Plan;
}

export interface LoadedSource {
  readonly file: string;
  readonly plan: SourcePlan;
}

export interface LoadedDelivery {
  readonly file: string;
  readonly plan: DeliveryPlan;
}

/** All that a folder defines, each in order of file name. */
export interface Loaded {
  readonly streams: readonly LoadedStream[];
  readonly sources: readonly LoadedSource[];
  readonly deliveries: readonly LoadedDelivery[];
}

export interface LoadOptions {
  /** Names of what is wanted; all when empty or left out. */
  readonly only?: readonly string[];
  /** Folder of the Avro schemas; `schemas` beside the streams' folder unless told. */
  readonly schemas?: string;
}

/**
 * The definitions and plans of the folder. Reads files, runs nothing.
 *
 * @throws ConfigError with the faults of all of them, also where two use one name, table or topic, or archive a topic in two ways
 */
export async function loadAll(dir: string, options: LoadOptions = {}): Promise<Loaded> {
  const { faults, ...loaded } = await inspect(dir, options);
  if (faults.length > 0) throw new ConfigError(faults);
  return loaded;
}

/** Its pipelines. @throws ConfigError as `loadAll` */
export async function loadStreams(dir: string, options: LoadOptions = {}): Promise<readonly LoadedStream[]> {
  return (await loadAll(dir, options)).streams;
}

type AnyDefinition = Definition | SourceDefinition | DeliveryDefinition;

/** Everything in the folder that can be planned, and everything that is wrong with the rest. */
export async function inspect(
  dir: string,
  options: LoadOptions = {},
): Promise<Loaded & { readonly faults: readonly Fault[] }> {
  const root = await absolute(dir);
  const faults: Fault[] = [];
  const schemasDir = options.schemas ?? join(root, "..", "schemas");
  const schemas = await collect(faults, () => readSchemas(schemasDir)) ?? new Map();
  const found: { file: string; definition: AnyDefinition }[] = [];
  for (const file of await files(root)) {
    const definition = await collect(faults, () => importDefinition(root, file));
    if (definition !== null) found.push({ file, definition });
  }
  const { only = [] } = options;
  const names = found.map(({ definition }) => definition.name);
  for (const name of only.filter((name) => !names.includes(name))) {
    faults.push({
      where: `pipelines: ${name}`,
      problem: `there is no such pipeline, source or delivery; ${dir} has ${names.join(", ") || "none"}`,
    });
  }
  if (found.length === 0 && faults.length === 0) {
    faults.push({ where: dir, problem: "there is no pipeline (.ts) in it" });
  }
  const wanted = only.length === 0 ? found : found.filter(({ definition }) => only.includes(definition.name));
  const streams: LoadedStream[] = [];
  const sources: LoadedSource[] = [];
  const deliveries: LoadedDelivery[] = [];
  for (const { file, definition } of wanted) {
    await collect(faults, async () => {
      if (definition.kind === "source") sources.push({ file, plan: await planSource(definition, schemas) });
      else if (definition.kind === "delivery") deliveries.push({ file, plan: await planDelivery(definition, schemas) });
      else streams.push({ file, definition, plan: await planOf(definition, schemas) });
    });
  }
  const loaded = { streams, sources, deliveries };
  return { ...loaded, faults: [...faults, ...await clashes(loaded)] };
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

async function importDefinition(dir: string, file: string): Promise<AnyDefinition> {
  let exported: { default?: unknown };
  try {
    exported = await import(pathToFileURL(join(dir, file)).href);
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new ConfigError({ where: file, problem: `cannot be imported: ${line}` });
  }
  const definition = exported.default as Partial<AnyDefinition> | undefined;
  if (definition?.kind !== undefined && KINDS.includes(definition.kind)) return definition as AnyDefinition;
  throw new ConfigError({
    where: file,
    problem: "has no pipeline, source or delivery: `export default pipeline({ .. })`",
  });
}

const KINDS: readonly string[] = ["pipeline", "source", "delivery"];

/** No two must share a name, a table or a topic of results; nor disagree on where a topic is archived. */
async function clashes({ streams, sources, deliveries }: Loaded): Promise<Fault[]> {
  const claimed = [
    ...streams.map(({ file, plan }) => ({
      file,
      name: plan.name,
      claims: plan.sinks.map((sink) => `${sink.kind}("${targetOf(sink)}")`),
    })),
    ...sources.map(({ file, plan }) => ({ file, name: plan.name, claims: [] })),
    ...await Promise.all(deliveries.map(async ({ file, plan }) => ({
      file,
      name: plan.name,
      claims: await Promise.all(plan.to.map(async (spec) => (await deliveryKind(spec)).claim(spec))),
    }))),
  ];
  const owners = new Map<string, string>();
  const faults: Fault[] = [];
  for (const { file, name, claims } of claimed) {
    for (const claim of [`the name ${name}`, ...claims]) {
      const owner = owners.get(claim);
      if (owner === undefined) owners.set(claim, file);
      else if (owner !== file) faults.push({ where: name, problem: `${claim} in ${file} is taken by ${owner}` });
    }
  }
  return [...faults, ...archiveClashes(streams, owners)];
}

/** A topic is read once for its archive, however many pipelines ask for it; `owners` has the tables of results. */
function archiveClashes(streams: readonly LoadedStream[], owners: ReadonlyMap<string, string>): Fault[] {
  const byTopic = new Map<string, { readonly file: string; readonly archive: ArchiveSpec }>();
  const topics = new Map<string, string>();
  const faults: Fault[] = [];
  for (const { file, plan: { name, topic, archive, sinks } } of streams) {
    if (archive === undefined) continue;
    const fault = (problem: string) => faults.push({ where: `${name}.from.archive`, problem });
    const { table, flush } = archive;
    const first = byTopic.get(topic);
    if (first === undefined) {
      byTopic.set(topic, { file, archive });
      const results = owners.get(`lake("${table}")`);
      // In one definition it is a fault of the definition.
      const isOwn = sinks.some((sink) => sink.kind === "lake" && sink.table === table);
      if (results !== undefined && !isOwn) {
        fault(`lake("${table}") is the table of the results of ${results}: name another`);
      }
      const other = topics.get(table);
      if (other !== undefined) fault(`lake("${table}") is the archive of the topic ${other}: name another`);
      topics.set(table, topic);
    } else if (first.archive.table !== table) {
      fault(
        `${topic} is archived in lake("${first.archive.table}") by ${first.file}: name the same table, or leave it out here`,
      );
    } else if (first.archive.flush.everyMs !== flush.everyMs || first.archive.flush.rows !== flush.rows) {
      fault(
        `${topic} is archived with other limits (flushEvery, flushRows) by ${first.file}: use the same, or leave it out here`,
      );
    }
  }
  return faults;
}
