import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { BUCKETS, type LedgerEntry } from "../../pipeline/ledger.ts";
import type { AppDeps } from "../deps.ts";
import { ledgerQuerySchema, ledgerSchema } from "../operation_schemas.ts";
import { ProblemException, problemResponses } from "../problem.ts";
import { unknownConnector } from "./connectors.ts";
import { unknownPipeline } from "./pipelines.ts";

const FIGURES = ["consumed", ...BUCKETS, "inFlight"] as const;

const ledger = createRoute({
  method: "get",
  path: "/v1/ledger",
  tags: ["Pipelines"],
  summary: "Where every record ended: one bucket each, by pipeline and partition, and by source and delivery",
  description: "`consumed` is the sum of the other buckets, always: a pipeline whose ledger does not add up stops. " +
    "Counted as of the last commit; what was read since is `inFlight`. Of sources and deliveries `read` is the sum.",
  request: { query: ledgerQuerySchema },
  responses: {
    200: { description: "The ledger", content: { "application/json": { schema: ledgerSchema } } },
    ...problemResponses("invalid-request", "unknown-pipeline", "unknown-connector", "no-engine"),
  },
});

/** `/v1/ledger`. */
export function ledgerRoutes(app: OpenAPIHono, { engine, connectors, pipelines }: AppDeps): void {
  app.openapi(ledger, (c) => {
    if (!engine) throw new ProblemException("no-engine");
    const { pipeline, connector } = c.req.valid("query");
    const isAll = pipeline === undefined && connector === undefined;
    const chosen = engine.status().filter(({ name }) => isAll || name === pipeline);
    if (pipeline !== undefined && chosen.length === 0) throw unknownPipeline(pipeline, pipelines);
    const statuses = connectors?.status() ?? [];
    const beside = statuses.filter(({ name }) => isAll || name === connector);
    if (connector !== undefined && beside.length === 0) throw unknownConnector(connector, statuses);
    return c.json(
      {
        pipelines: chosen.map(({ name, topic }) => {
          const partitions = engine.control.ledger(name);
          return { pipeline: name, topic, ...total(partitions), partitions: [...partitions] };
        }),
        connectors: beside.map(({ name, kind, topic, counts }) => ({ connector: name, kind, topic, ...counts })),
      },
      200,
      { "cache-control": "no-store" },
    );
  });
}

function total(partitions: readonly LedgerEntry[]): Record<(typeof FIGURES)[number], number> {
  const sums = FIGURES.map((bucket) => [bucket, partitions.reduce((sum, entry) => sum + entry[bucket], 0)]);
  return Object.fromEntries(sums);
}
