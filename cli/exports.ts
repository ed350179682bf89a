/**
 * Exports of the results and tables of this process: files made in its data folder, that go when they are sent.
 *
 * @module
 */
import type postgres from "postgres";
import type { ExportDesk, ExportFile, ExportRequest } from "../api/export_desk.ts";
import { within } from "../api/within.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import { type Exported, type ExportOptions, exportPostgres, exportTable } from "../pipeline/export/export_file.ts";
import type { Plan } from "../pipeline/plan/plan.ts";
import type { LakeDatabase } from "../pipeline/sinks/lake/database.ts";
import type { Lake } from "../pipeline/sinks/lake/lake.ts";

/** Files made at a time: each may take as much disk as the results it holds, twice. */
const EXPORTS_MAX = 2;
const FLUSH_MS_MAX = 30_000;

export interface ExportsOptions {
  /** Of the pipelines of this process; `lakeSink` of those with a table in the lake. */
  readonly units: readonly {
    readonly plan: Plan;
    readonly lakeSink: { flush(options: { readonly signal: AbortSignal }): Promise<void> } | null;
  }[];
  readonly lake: Lake;
  readonly database: LakeDatabase;
  readonly sql: postgres.Sql;
  /** How long the lake may take for what waits for it, milliseconds. Default 30,000. */
  readonly flushMsMax?: number;
  /** A folder of their own: what is in it at the start is of a process that was killed, and is removed. */
  readonly folder: string;
}

export function createExports(options: ExportsOptions): ExportDesk {
  const { folder } = options;
  let underWay = 0;
  let emptied: Promise<void> | null = null;
  return {
    async export(request, { signal }) {
      if (underWay >= EXPORTS_MAX) throw new UnavailableError(`${EXPORTS_MAX} exports are being made: ask again`);
      underWay++;
      try {
        await (emptied ??= empty(folder));
        return await fileOf(request, { ...options, signal });
      } finally {
        underWay--;
      }
    },
  };
}

async function empty(folder: string): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.mkdir(folder, { recursive: true });
}

async function fileOf(
  { source, format, fromMs, toMs }: ExportRequest,
  options: ExportsOptions & { readonly signal: AbortSignal },
): Promise<ExportFile | null> {
  const { folder, database, signal } = options;
  const path = `${folder}/${crypto.randomUUID()}.${format}`;
  const asked = { format, fromMs, toMs, path, database, signal };
  const made = "pipeline" in source
    ? await ofPipeline(source.pipeline, asked, options)
    : await ofTable(source.table, asked, options);
  if (made === null) return null;
  const name = `${"pipeline" in source ? source.pipeline : source.table}.${format}`;
  return { name, ...made, body: await sent(path) };
}

async function ofPipeline(name: string, asked: ExportOptions, options: ExportsOptions): Promise<Exported | null> {
  const { units, sql, flushMsMax = FLUSH_MS_MAX } = options;
  const unit = units.find(({ plan }) => plan.name === name);
  if (!unit) return null;
  const { sinks } = unit.plan;
  const stored = sinks.find((sink) => sink.kind === "postgres");
  if (stored) return await exportPostgres(unit.plan, { ...asked, sql, table: stored.table });
  const inLake = sinks.find((sink) => sink.kind === "lake");
  if (!inLake) {
    throw new ConfigError({
      where: `export ${name}`,
      problem: `its results go to no table: add postgres("${name}") or lake("${name}") to its definition`,
    });
  }
  // What was written until now is in the table then.
  const late = `lake.${inLake.table} has not taken the newest results within ${flushMsMax / 1000} s`;
  await within(flushMsMax, late, unit.lakeSink?.flush({ signal: asked.signal }) ?? Promise.resolve());
  const exported = await ofTable(inLake.table, asked, options);
  if (exported) return exported;
  throw new ConfigError({ where: `export ${name}`, problem: `lake.${inLake.table} holds nothing yet` });
}

async function ofTable(name: string, asked: ExportOptions, { lake }: ExportsOptions): Promise<Exported | null> {
  const table = await lake.table(name, { signal: asked.signal });
  if (table === null) return null;
  return await exportTable(await table.snapshot({ signal: asked.signal }), { ...asked, lake });
}

/** The file's bytes. It has no name any more, so it is gone whenever its reader is. */
async function sent(path: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const file = await Deno.open(path, { read: true });
  await Deno.remove(path);
  return file.readable;
}
