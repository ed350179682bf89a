/**
 * `tailrace preview FILE`: an edited definition over the last minutes of the archive, through the API of a running Tailrace. The file
 * is read here; what is sent is data, never code.
 *
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { z } from "@hono/zod-openapi";
import type { previewSchema } from "../api/preview_schemas.ts";
import type { Definition } from "../pipeline/definition.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { readSchemas } from "../pipeline/plan/schemas.ts";
import { API_OPTION, ApiClient } from "./api_client.ts";
import type { Call, Option } from "./call.ts";
import { Exit } from "./exit.ts";
import { printable, table, terminalWidth } from "./table.ts";

type Preview = z.infer<typeof previewSchema>;

const MINUTES_DEFAULT = 15;

export const PREVIEW_OPTIONS: readonly Option[] = [
  {
    flag: "minutes",
    placeholder: "N",
    help: `how far to look back from the newest closed windows (default ${MINUTES_DEFAULT})`,
  },
  { flag: "pipeline", placeholder: "NAME", help: "the pipeline to compare with (default: the one of the same name)" },
  {
    flag: "schemas",
    placeholder: "DIR",
    help: "folder of the Avro schemas (default: schemas beside the file's folder)",
  },
  { flag: "json", placeholder: "", help: "JSON instead of tables" },
  API_OPTION,
];

const count = new Intl.NumberFormat("en-US");

/** `tailrace preview FILE`. */
export async function preview({ flags, positionals, signal }: Call): Promise<number> {
  if (positionals.length !== 1) {
    throw new ConfigError({ where: "tailrace preview", problem: "name one FILE, such as streams/visits.ts" });
  }
  const minutes = flags.minutes === undefined ? MINUTES_DEFAULT : Number(flags.minutes);
  if (!(minutes > 0)) {
    throw new ConfigError({ where: "--minutes", problem: `must be a number of minutes; "${flags.minutes}" is not` });
  }
  const definition = await readDefinition(positionals[0], flags.schemas);
  // What is not as a definition has to be is refused there, with its place.
  const body = { definition, minutes, pipeline: flags.pipeline };
  const told = await new ApiClient({ url: flags.api, signal }).post<Preview>("/v1/preview", body);
  if (flags.json !== undefined) console.log(JSON.stringify(told));
  else for (const part of previewText(told, minutes)) console.log(part);
  return Exit.ok;
}

/** The definition that a file exports, with its schema in full. */
async function readDefinition(file: string, schemas: string | undefined): Promise<Definition> {
  const path = resolve(file);
  let exported: { default?: unknown };
  try {
    exported = await import(pathToFileURL(path).href);
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split("\n");
    throw new ConfigError({ where: file, problem: `cannot be imported: ${line}` });
  }
  const definition = exported.default as Definition | undefined;
  if (definition?.kind !== "pipeline") {
    throw new ConfigError({ where: file, problem: "has no pipeline: `export default pipeline({ .. })`" });
  }
  const { schema } = definition.from.options;
  if (typeof schema !== "string") return definition;
  const folder = schemas ?? join(dirname(path), "..", "schemas");
  const known = await readSchemas(folder);
  const found = known.get(schema);
  if (found === undefined) {
    const problem = `there is no ${schema}.avsc in ${folder}; it has: ${[...known.keys()].join(", ") || "none"}`;
    throw new ConfigError({ where: `${file}: from.schema`, problem });
  }
  return { ...definition, from: { ...definition.from, options: { ...definition.from.options, schema: found } } };
}

function* previewText(told: Preview, minutes: number): Generator<string> {
  const { pipeline, comparedWith, from, to, windows, rows, keys, records, doubt, archive } = told;
  yield `${pipeline}, over ${minutes} minutes of lake.${archive.table} (version ${archive.version}): windows from ${from} to ${to}`;
  yield `${count.format(rows)} rows: ${count.format(keys)} keys, ${count.format(windows)} windows. Of ${
    count.format(records.read)
  } records ${count.format(records.aggregated)} count, ${count.format(records.filtered)} are left out, ${
    count.format(records.late)
  } late, ${count.format(records.duplicate)} duplicates.`;
  if (doubt !== null) yield `To know: ${printable(doubt)}.`;
  yield "";
  if (comparedWith === null) {
    yield "No pipeline of that name runs there, so there is nothing to compare with; --pipeline names another.";
  } else yield* differenceText(told, comparedWith);
  yield "";
  yield* stateText(told);
}

function* differenceText(
  { columns, difference, incomparable, changes }: Preview,
  comparedWith: string,
): Generator<string> {
  yield changes.length === 0
    ? `The definition is that of ${comparedWith}.`
    : `Changed: ${changes.map(({ part }) => part).join(", ")}.`;
  for (const { name, type } of columns?.added ?? []) yield `  + ${name} ${type}`;
  for (const { name, type } of columns?.removed ?? []) yield `  - ${name} ${type}`;
  for (const { name, before, after } of columns?.retyped ?? []) yield `  ~ ${name} ${before} becomes ${after}`;
  if (difference === null) {
    yield `Rows were not compared: ${incomparable}.`;
    return;
  }
  const { before, same, changed, onlyBefore, onlyAfter, examples } = difference;
  yield `Compared with the ${count.format(before)} rows of ${comparedWith}: ${count.format(same)} same, ${
    count.format(changed)
  } changed, ${count.format(onlyAfter)} only here, ${count.format(onlyBefore)} only there.`;
  const by = Object.entries(difference.columns).map(([name, rows]) => `${name} in ${count.format(rows)}`);
  if (by.length > 0) yield `Changed columns: ${by.join(", ")}.`;
  if (examples.length === 0) return;
  yield "";
  const kinds = { "changed": "changed", "only before": "only there", "only after": "only here" };
  yield table(
    ["", "window", "key", "values"],
    examples.map(({ kind, window, key, values }) => [
      kinds[kind],
      window,
      Object.values(key).map(String).join(", "),
      values.map(({ name, before, after }) =>
        kind === "changed" ? `${name} ${before} -> ${after}` : `${name} ${kind === "only before" ? before : after}`
      ).join(", "),
    ]),
    { width: terminalWidth() },
  );
}

function* stateText({ pipeline, state, changes }: Preview): Generator<string> {
  const { outlook, rewindFrom, rewindProblem, backfillFrom } = state;
  if (outlook === "resumes") yield `Saved state remains usable: ${pipeline} goes on from its last checkpoint.`;
  if (outlook === "nothing saved") yield `${pipeline} has saved nothing yet: it begins where the topic does.`;
  if (outlook === "new") {
    yield `${pipeline} is new: it begins where the topic does. tailrace backfill ${pipeline} builds what came before from the archive.`;
  }
  if (outlook !== "recomputes") return;
  const deciding = changes.filter(({ decidesResults }) => decidesResults).map(({ part }) => part);
  const why = deciding.length === 0 ? "" : ` (${deciding.join(", ")} changed)`;
  yield `Saved state does not fit${why}: ${pipeline} will not start with it. Deploy it under a new name, or:`;
  yield rewindProblem === null
    ? `  tailrace rewind ${pipeline} --earliest --yes   computes again what the log holds: windows from ${
      rewindFrom ?? "the first"
    } on`
    : `  it cannot be rewound: ${printable(rewindProblem)}`;
  if (backfillFrom !== null) {
    yield `  tailrace backfill ${pipeline}   computes again what the archive holds: windows from ${backfillFrom} on`;
  }
}
