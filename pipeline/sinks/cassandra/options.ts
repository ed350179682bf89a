/** Which Cassandra, and as whom. @module */

import type { Fault } from "../../errors.ts";

/** What a process is told of its Cassandra: see the settings `TAILRACE_CASSANDRA*`. */
export interface CassandraOptions {
  /** `host:port` of nodes to ask for the others. */
  readonly contactPoints: readonly string[];
  /** The data centre whose nodes are written to; that of the first node that answers unless told. */
  readonly datacenter: string | null;
  /** Where tables are whose definition names no keyspace. Made where missing. */
  readonly keyspace: string;
  readonly credentials: { readonly username: string; readonly password: string } | null;
  /** Null talks without TLS. */
  readonly tls: CassandraTls | null;
}

export interface CassandraTls {
  /** Certificates of the authorities to trust, PEM; those of the runtime where there are none. */
  readonly authorities: string | null;
}

/** The keyspace unless told. */
export const DEFAULT_KEYSPACE = "tailrace";

/** What to say where a definition names a table and there is no Cassandra. */
const NOT_SET = "is not set: give the host:port of Cassandra's nodes, or take cassandra(..) out of the definition";

/** What a session says of its Cassandra; null where there is none. */
interface Session {
  readonly keyspace: string | null;
}

/** What has to be set before rows can go to these destinations, in words; null when nothing is missing. */
export function missingCassandra(
  to: readonly { readonly kind: string }[],
  session: Session | undefined,
): string | null {
  const isNeeded = (session?.keyspace ?? null) === null && to.some(({ kind }) => kind === "cassandra");
  return isNeeded ? `TAILRACE_CASSANDRA: ${NOT_SET}` : null;
}

/** The same for a ConfigError. */
export function missingFault(): Fault {
  return { where: "TAILRACE_CASSANDRA", problem: NOT_SET };
}
