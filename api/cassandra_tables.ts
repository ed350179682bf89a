/**
 * The tables of Cassandra that pipelines and deliveries write to, as the application reads them.
 *
 * @module
 */
import type { DeliveryPlan } from "../pipeline/deliveries/delivery_spec.ts";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import { type Plan, resultColumns } from "../pipeline/plan/plan.ts";
import { type CassandraTable, cassandraTarget } from "../pipeline/sinks/cassandra/definition.ts";
import { CassandraQueryError, type ReadableTable, readRows } from "../pipeline/sinks/cassandra/read.ts";
import type { CassandraSession } from "../pipeline/sinks/cassandra/session.ts";
import type { CassandraReader } from "./cassandra_reader.ts";
import { QueryError } from "./deps.ts";
import { ProblemException } from "./problem.ts";

/** Null where no definition names one. */
export function createCassandraReader(
  session: CassandraSession,
  { plans, deliveries }: { readonly plans: readonly Plan[]; readonly deliveries: readonly DeliveryPlan[] },
): CassandraReader | null {
  const tables = new Map(
    [...ofPipelines(plans), ...ofDeliveries(deliveries)].map((table) => [cassandraTarget(table), table]),
  );
  if (tables.size === 0) return null;
  return {
    tables: Array.from(tables, ([name, { columns }]) => ({ name, columns })),
    async read(name, query) {
      try {
        return await readRows(session, tables.get(name)!, query);
      } catch (error) {
        if (error instanceof CassandraQueryError) throw new QueryError("key", error.message);
        // Who asks cannot put settings right; what is missing is told all the same. Without any it is of no use to ask again.
        if (error instanceof ConfigError) {
          if (session.keyspace === null) throw new ProblemException("no-cassandra", { detail: error.message });
          throw new UnavailableError(error.message);
        }
        throw error;
      }
    },
  };
}

function ofPipelines(plans: readonly Plan[]): ReadableTable[] {
  return plans.flatMap((plan) =>
    plan.sinks.flatMap((sink) =>
      sink.kind === "cassandra" ? [{ table: sink.table, keyspace: sink.keyspace, columns: resultColumns(plan) }] : []
    )
  );
}

function ofDeliveries(deliveries: readonly DeliveryPlan[]): ReadableTable[] {
  return deliveries.flatMap(({ to, columns }) =>
    to.flatMap((spec) => {
      if (spec.kind !== "cassandra") return [];
      const { table, options } = spec as CassandraTable;
      return [{ table, keyspace: options?.keyspace ?? null, columns }];
    })
  );
}
