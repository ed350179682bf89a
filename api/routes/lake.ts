import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import { ConfigError } from "../../pipeline/errors.ts";
import type { LakeJob } from "../../pipeline/runtime/lake_keeper.ts";
import type { DeltaType } from "../../pipeline/sinks/lake/delta/table.ts";
import type { AppDeps } from "../deps.ts";
import type { LakeDesk, LakeTableDetail, LakeTableStatus } from "../lake_desk.ts";
import { jobSchema, lakeSchema, lakeTableSchema, tableParamSchema, vacuumSchema } from "../lake_schemas.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { within } from "../within.ts";

/** The store may be far away. */
const ANSWER_MS = 30_000;

const list = createRoute({
  method: "get",
  path: "/v1/lake",
  tags: ["Lake"],
  summary: "Tables of the lake: size, version, what waits for them",
  responses: {
    200: { description: "All tables", content: { "application/json": { schema: lakeSchema } } },
    ...problemResponses("no-lake", "unavailable"),
  },
});

const show = createRoute({
  method: "get",
  path: "/v1/lake/{table}",
  tags: ["Lake"],
  summary: "One table: columns, versions, and what was done to it",
  request: { params: tableParamSchema },
  responses: {
    200: { description: "The table", content: { "application/json": { schema: lakeTableSchema } } },
    ...problemResponses("unknown-table", "no-lake", "unavailable"),
  },
});

const compact = createRoute({
  method: "post",
  path: "/v1/lake/{table}/compact",
  tags: ["Lake"],
  summary: "Make few large files of many small ones",
  description:
    "Begins it, or tells of the one under way; GET /v1/lake/{table} says how far it is. Rows, and what earlier versions have, " +
    "stay as they are. Tables with many small files are compacted without being asked.",
  request: { params: tableParamSchema },
  responses: {
    202: { description: "It is under way", content: { "application/json": { schema: jobSchema } } },
    ...problemResponses("unknown-table", "no-lake", "unavailable"),
  },
});

const vacuum = createRoute({
  method: "post",
  path: "/v1/lake/{table}/vacuum",
  tags: ["Lake"],
  summary: "Remove files that no version within the retention names",
  description:
    "Begins it, or tells of the one under way. Versions from before the retention cannot be read any more afterwards. Tables are " +
    "vacuumed once a day without being asked.",
  request: {
    params: tableParamSchema,
    body: { required: true, content: { "application/json": { schema: vacuumSchema } } },
  },
  responses: {
    202: { description: "It is under way", content: { "application/json": { schema: jobSchema } } },
    ...problemResponses(
      "invalid-request",
      "malformed-json",
      "unknown-table",
      "body-too-large",
      "unsupported-media-type",
      "no-lake",
      "unavailable",
    ),
  },
});

/** `/v1/lake`, one table, and what keeps it in shape. */
export function lakeRoutes(
  app: OpenAPIHono,
  { lake }: AppDeps,
  { answerMs = ANSWER_MS }: { readonly answerMs?: number } = {},
): void {
  const noStore = { "cache-control": "no-store" };
  const asked = async <T>(ask: (desk: LakeDesk, signal: AbortSignal) => Promise<T>): Promise<T> => {
    if (!lake) throw new ProblemException("no-lake");
    const ended = new AbortController();
    try {
      return await within(answerMs, `the lake at ${lake.url} did not answer`, ask(lake, ended.signal));
    } catch (error) {
      // Wrong keys, no such bucket, a damaged log: for whoever runs this, and not the caller's fault.
      if (error instanceof ConfigError) throw new ProblemException("unavailable", { detail: error.message });
      throw error;
    } finally {
      ended.abort();
    }
  };
  const there = async (name: string): Promise<LakeDesk> => {
    await asked(async (desk, signal) => {
      const tables = await desk.tables({ signal });
      if (!tables.some((table) => table.name === name && table.version !== null)) throw unknownTable(name, tables);
    });
    return lake!;
  };

  app.openapi(list, async (c) => {
    const tables = await asked((desk, signal) => desk.tables({ signal }));
    return c.json({ url: lake!.url, tables: tables.map(tableJson) }, 200, noStore);
  });

  app.openapi(show, async (c) => {
    const { table: name } = c.req.valid("param");
    const detail = await asked(async (desk, signal) =>
      await desk.table(name, { signal }) ?? unknownTable(name, await desk.tables({ signal }))
    );
    if (detail instanceof ProblemException) throw detail;
    return c.json(detailJson(detail), 200, noStore);
  });

  app.openapi(compact, async (c) => {
    const { table } = c.req.valid("param");
    return c.json(jobJson((await there(table)).keeper.compact(table)), 202, noStore);
  });

  app.openapi(vacuum, async (c) => {
    const { table } = c.req.valid("param");
    const { retentionHours, force } = c.req.valid("json");
    const desk = await there(table);
    try {
      const retentionMs = retentionHours === undefined ? undefined : retentionHours * 3_600_000;
      const job = desk.keeper.vacuum(table, { retentionMs, isShortMeant: force });
      return c.json(jobJson(job), 202, noStore);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const problem = `${error.faults[0].problem}; \`force\` does it nevertheless`;
      throw new ProblemException("invalid-request", { errors: [{ where: "body.retentionHours", problem }] });
    }
  });
}

function unknownTable(name: string, tables: readonly LakeTableStatus[]): ProblemException {
  const names = tables.filter(({ version }) => version !== null).map((table) => table.name);
  const there = names.length === 0 ? "there are none yet" : `there are: ${names.join(", ")}`;
  return new ProblemException("unknown-table", { detail: `there is no table ${JSON.stringify(name)}; ${there}` });
}

function tableJson({ flow, committedMs, ...same }: LakeTableStatus): z.infer<typeof lakeSchema>["tables"][number] {
  const { name, version, files, bytes, rows } = same;
  return { name, version, files, bytes, rows, committedAt: iso(committedMs), flow: flow && flowJson(flow) };
}

function flowJson(flow: NonNullable<LakeTableStatus["flow"]>): z.infer<typeof lakeTableSchema>["flow"] {
  const { source, state, reason, rowsWaiting, rowsCommitted, committedMs, lagRecords } = flow;
  const from = source.kind === "archive" ? source.topic : source.pipeline;
  return {
    kind: source.kind,
    from,
    state,
    reason,
    rowsWaiting,
    rowsCommitted,
    lastCommit: iso(committedMs),
    lagRecords,
  };
}

function detailJson(detail: LakeTableDetail): z.infer<typeof lakeTableSchema> {
  const { schema, partitionColumns, history, jobs } = detail;
  return {
    ...tableJson(detail),
    columns: schema.fields.map(({ name, type }) => ({
      name,
      type: typeText(type),
      partition: partitionColumns.includes(name),
    })),
    history: history.map(({ committedMs, parameters, ...same }) => ({
      ...same,
      parameters: { ...parameters },
      at: iso(committedMs),
    })),
    jobs: jobs.map(jobJson),
  };
}

/** A type as people write it: `struct<country: string>`. */
function typeText(type: DeltaType): string {
  if (typeof type === "string") return type;
  switch (type.type) {
    case "struct":
      return `struct<${type.fields.map(({ name, type }) => `${name}: ${typeText(type)}`).join(", ")}>`;
    case "array":
      return `array<${typeText(type.elementType)}>`;
    case "map":
      return `map<${typeText(type.keyType)}, ${typeText(type.valueType)}>`;
  }
}

function jobJson({ startedMs, endedMs, isAutomatic, report, ...same }: LakeJob): z.infer<typeof jobSchema> {
  const { table, kind, state, problem } = same;
  return {
    table,
    kind,
    automatic: isAutomatic,
    state,
    startedAt: iso(startedMs),
    endedAt: iso(endedMs),
    problem,
    filesRemoved: report?.filesRemoved ?? null,
    filesAdded: report && "filesAdded" in report ? report.filesAdded : null,
    bytesRemoved: report?.bytesRemoved ?? null,
    bytesAdded: report && "bytesAdded" in report ? report.bytesAdded : null,
  };
}

function iso(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
