/**
 * A table of Cassandra as a delivery's destination.
 *
 * @module
 */
import type { DeliveryKind } from "../../deliveries/delivery_spec.ts";
import { ConfigError, type Fault } from "../../errors.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import {
  cassandraNameFault,
  type CassandraTable,
  type CassandraTableOptions,
  cassandraTarget,
  ttlSecondsOf,
} from "./definition.ts";
import { missingCassandra, missingFault } from "./options.ts";
import { createCassandraSink } from "./sink.ts";
import { COMPUTED } from "./table.ts";

const OPTIONS: KnownOptions<CassandraTableOptions> = { keyspace: true, ttl: true };

export const cassandraKind: DeliveryKind<CassandraTable> = {
  check({ table, options = {} }, { columns }) {
    const ttl = ttlSecondsOf(options.ttl);
    const problems: [where: string, problem: string | null][] = [
      ["cassandra", cassandraNameFault(table)],
      ["cassandra.keyspace", options.keyspace === undefined ? null : cassandraNameFault(options.keyspace)],
      ["cassandra.ttl", typeof ttl === "string" ? ttl : null],
      ...columns.filter(({ name }) => name in COMPUTED).map(({ name }): [string, string] => [
        `cassandra.${name}`,
        "is the name of a column that is computed: rename the field",
      ]),
    ];
    return [
      ...unknownOptions(options, OPTIONS, "cassandra"),
      ...problems.flatMap(([where, problem]): Fault[] => problem === null ? [] : [{ where, problem }]),
    ];
  },
  describe: (spec) => `Cassandra table ${target(spec)}`,
  claim: (spec) => `cassandra("${target(spec)}")`,
  missing: (spec, { cassandra }) => missingCassandra([spec], cassandra),
  async open({ table, options = {} }, { plan, cassandra, clock, log }) {
    if (cassandra === undefined) throw new ConfigError(missingFault());
    const ttlSeconds = ttlSecondsOf(options.ttl) as number | null;
    const of = `Records of the topic ${plan.topic}, by the delivery ${plan.name}.`;
    const { keyspace } = options;
    return await createCassandraSink({
      session: cassandra,
      table,
      keyspace,
      ttlSeconds,
      columns: plan.columns,
      of,
      clock,
      log,
    });
  },
};

function target({ table, options }: CassandraTable): string {
  return cassandraTarget({ table, keyspace: options?.keyspace });
}
