/**
 * What running pipelines say at one moment.
 *
 * @module
 */
import type { LedgerEntry } from "../../pipeline/ledger.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";
import type { Unsettled } from "../../pipeline/runtime/pipeline_runner.ts";
import type { Settled } from "../../pipeline/runtime/settled.ts";
import type { PendingRows } from "../../pipeline/sinks/lake/results/lake_sink.ts";
import type { PipelineLedger } from "./capture_records.ts";
import type { RelationName } from "./catalog.ts";

/** A pipeline of this process. Every method answers at once. */
export interface CatalogPipeline {
  readonly plan: Plan;
  unsettled(): Unsettled;
  settled(): Settled | null;
  ledger(): readonly LedgerEntry[];
  /** Absent where the definition has no `lake(...)` in `to`; null while it was not opened. */
  readonly lakeSink?: { pending(): PendingRows | null };
}

/** By pipeline; what a question is not about is not there. What is pending is held until it is disposed of. */
export interface Moment {
  readonly unsettled: ReadonlyMap<string, Unsettled>;
  readonly settled: ReadonlyMap<string, Settled | null>;
  readonly pending: ReadonlyMap<string, PendingRows | null>;
  readonly ledgers: readonly PipelineLedger[];
}

/** The lake table that a pipeline's results go to; null when there is none. */
export function resultTable({ plan }: CatalogPipeline): string | null {
  for (const sink of plan.sinks) if (sink.kind === "lake") return sink.table;
  return null;
}

/** Asks about all that is named, without a pause in between: what is told is one state of each pipeline. */
export function takeMoment(names: readonly RelationName[], pipelines: readonly CatalogPipeline[]): Moment {
  const named = (schema: RelationName["schema"]) =>
    new Set(names.filter((one) => one.schema === schema && one.at === undefined).map(({ name }) => name));
  const [live, results, tables] = [named("live"), named("results"), named("lake")];
  const unsettled = new Map<string, Unsettled>();
  const settled = new Map<string, Settled | null>();
  const pending = new Map<string, PendingRows | null>();
  for (const pipeline of pipelines) {
    const { name } = pipeline.plan;
    const table = resultTable(pipeline);
    const isTableAsked = table !== null && tables.has(table);
    // Gathers the rows of all open windows.
    if (live.has(name) || results.has(name)) unsettled.set(name, pipeline.unsettled());
    if (isTableAsked) settled.set(name, pipeline.settled());
    if (isTableAsked || results.has(name)) pending.set(name, pipeline.lakeSink?.pending() ?? null);
  }
  const ledgers = !named(null).has("ledger") ? [] : pipelines.map((pipeline) => ({
    pipeline: pipeline.plan.name,
    topic: pipeline.plan.topic,
    entries: [...pipeline.ledger()],
  }));
  return { unsettled, settled, pending, ledgers };
}
