/**
 * The connection to Cassandra that everything in a process shares: made at its first use, and again where it could not be made.
 *
 * @module
 */
import driver from "cassandra-driver";
import { type Clock, systemClock } from "../../clock.ts";
import { ConfigError, UnavailableError } from "../../errors.ts";
import { searchOnceAtATime } from "./control_connection.ts";
import { isKeyspaceMissing, sortedError } from "./errors.ts";
import { migrateCassandra } from "./migrate.ts";
import { type CassandraOptions, missingFault } from "./options.ts";
import { quoted } from "./statements.ts";

const { consistencies, distance } = driver.types;
const { loadBalancing, reconnection, retry } = driver.policies;

/** How long a node may take to answer a connection, and a request, before it is taken to be away. */
const CONNECT_MS_MAX = 5_000;
export const ANSWER_MS_MAX = 10_000;
/** Connections to each node: one carries 32,768 requests at a time, and a second one does not make a node faster. */
const CONNECTIONS_PER_NODE = 2;
/** Requests under way on a connection before further ones are refused; the sinks stay far below. */
const REQUESTS_PER_CONNECTION_MAX = 4_096;
/** Requests go into a socket so much at a time: more of them at once cost a node less, as it wakes less often. */
const WRITE_BYTES_MAX = 512 * 1024;
/** A node that is away is looked for so often, the longest wait being the second. */
const RECONNECT_MS = 250;
const RECONNECT_MS_MAX = 2_500;
/** A client whose nodes came and went is replaced when they have not for so long. */
const QUIET_MS = 2_000;

export interface SessionOptions {
  /** Null where no Cassandra is configured: whoever needs one is told so. */
  readonly options: CassandraOptions | null;
  /** Files that describe the keyspace's tables; none are applied unless told. */
  readonly migrations?: string;
  readonly log?: (level: "info" | "warn" | "error", message: string) => void;
  readonly clock?: Clock;
}

export class CassandraSession implements AsyncDisposable {
  readonly #options: SessionOptions;
  readonly #clock: Clock;
  #opened: Promise<Opened> | null = null;
  #isRenewing = false;
  #isClosed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Where tables are whose definition names no keyspace; null without a Cassandra. */
  get keyspace(): string | null {
    return this.#options.options?.keyspace ?? null;
  }

  /**
   * The client, connected, with the keyspace and the migrations' tables there. Ask for it anew for each use.
   *
   * @throws ConfigError when no Cassandra is configured, it refuses the user, or a migration cannot be applied
   * @throws UnavailableError when no node answers
   */
  async client(): Promise<driver.Client> {
    const { options } = this.#options;
    if (options === null) throw new ConfigError(missingFault());
    if (this.#isClosed) throw new UnavailableError("The connection to Cassandra was closed");
    const opened = await (this.#opened ??= this.#open(options).catch((error) => {
      this.#opened = null;
      throw error;
    }));
    if (this.#isRenewing || !opened.isStale(this.#clock.now())) return opened.client;
    await this.#renew(opened, options);
    return (await this.#opened ?? opened).client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const opened = await this.#opened?.catch(() => null);
    await opened?.close();
  }

  /** One caller opens another client, and closes the former when there is one; meanwhile and otherwise the former has to do. */
  async #renew(former: Opened, options: CassandraOptions): Promise<void> {
    this.#isRenewing = true;
    former.renewed();
    try {
      const opened = await this.#open(options);
      this.#opened = Promise.resolve(opened);
      await (this.#isClosed ? opened : former).close();
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
    } finally {
      this.#isRenewing = false;
    }
  }

  async #open(options: CassandraOptions): Promise<Opened> {
    const { migrations, log = () => {} } = this.#options;
    const where = options.contactPoints.join(",");
    const { keyspace } = options;
    const datacenter = await prepareKeyspace(options).catch((error) => {
      throw sortedError(error, where);
    });
    const opened = new Opened(clientOptions(options, { datacenter, keyspace }), this.#clock);
    try {
      await opened.client.connect();
      if (migrations !== undefined) {
        const done = await migrateCassandra(opened.client, { keyspace, folder: migrations });
        for (const name of done) log("info", `Cassandra: ${name} is applied to the keyspace ${keyspace}`);
      }
      return opened;
    } catch (error) {
      await opened.close();
      // Another process is just making it, and this node does not know of it yet; or it was dropped, and is made again.
      if (isKeyspaceMissing(error)) throw new UnavailableError(`Cassandra has no keyspace ${keyspace} yet`);
      throw sortedError(error, where);
    }
  }
}

/** The part of the driver's `Host` that its types leave out. */
interface Node {
  shutdown(waitForPending: boolean): Promise<void>;
}

/**
 * A client, and all nodes it has ever known. When all have been away at once the driver (4.8 to 4.10) describes them anew and
 * leaves what it had of them running: connections, timers that look for them, and listeners, once more with each outage. So a
 * client that this happened to is replaced once things are quiet, and closed with all its nodes.
 */
class Opened {
  readonly client: driver.Client;
  readonly #clock: Clock;
  readonly #nodes = new Set<Node>();
  #replacedAtMs: number | null = null;

  constructor(options: driver.ClientOptions, clock: Clock) {
    this.client = new driver.Client(options);
    searchOnceAtATime(this.client);
    this.#clock = clock;
    this.client.on("hostAdd", (node: Node) => this.#nodes.add(node));
    this.client.on("hostRemove", (node: Node) => {
      this.#nodes.add(node);
      this.#replacedAtMs = this.#clock.now();
    });
  }

  isStale(nowMs: number): boolean {
    return this.#replacedAtMs !== null && nowMs - this.#replacedAtMs >= QUIET_MS;
  }

  renewed(): void {
    this.#replacedAtMs = this.#clock.now();
  }

  async close(): Promise<void> {
    await this.client.shutdown();
    await Promise.all(Array.from(this.#nodes, (node) => node.shutdown(false).catch(() => {})));
  }
}

/** Makes the keyspace where it is missing, by a client of its own: that of the sinks has it from the start. Gives the data centre. */
async function prepareKeyspace(options: CassandraOptions): Promise<string> {
  const client = new driver.Client(clientOptions(options, null));
  searchOnceAtATime(client);
  try {
    await client.connect();
    const { rows } = await client.execute("SELECT data_center FROM system.local");
    const datacenter: string = options.datacenter ?? rows[0].get("data_center");
    const nodes = hostsIn(client, datacenter);
    if (nodes === 0) {
      throw new ConfigError({
        where: "TAILRACE_CASSANDRA_DATACENTER",
        problem: `there is no data centre ${datacenter}; there are ${datacentersOf(client).join(", ")}`,
      });
    }
    await ensureKeyspace(client, { keyspace: options.keyspace, nodes });
    return datacenter;
  } finally {
    await client.shutdown();
  }
}

function hostsIn(client: driver.Client, datacenter: string): number {
  return client.hosts.values().filter((host) => host.datacenter === datacenter).length;
}

function datacentersOf(client: driver.Client): string[] {
  return [...new Set(client.hosts.values().map((host) => host.datacenter))].sort();
}

/** A keyspace that is there stays as it is: how it is replicated is for who runs the cluster to say. */
async function ensureKeyspace(
  client: driver.Client,
  { keyspace, nodes }: { readonly keyspace: string; readonly nodes: number },
): Promise<void> {
  const found = await client.execute(
    "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?",
    [keyspace],
    { prepare: true },
  );
  if (found.rowLength > 0) return;
  await client.execute(
    `CREATE KEYSPACE IF NOT EXISTS ${quoted(keyspace)} WITH replication = ` +
      `{'class': 'NetworkTopologyStrategy', 'replication_factor': ${Math.min(3, nodes)}}`,
  );
}

/** `of` is null for a client that finds out what the others have to be told. */
function clientOptions(
  { contactPoints, credentials, tls }: CassandraOptions,
  of: { readonly datacenter: string; readonly keyspace: string } | null,
): driver.ClientOptions {
  return {
    contactPoints: [...contactPoints],
    ...(of === null ? {} : { localDataCenter: of.datacenter, keyspace: of.keyspace }),
    ...(credentials === null
      ? {}
      : { authProvider: new driver.auth.PlainTextAuthProvider(credentials.username, credentials.password) }),
    ...(tls === null ? {} : {
      // The driver trusts every certificate unless told.
      sslOptions: { rejectUnauthorized: true, ...(tls.authorities === null ? {} : { ca: [tls.authorities] }) },
    }),
    pooling: {
      coreConnectionsPerHost: { [distance.local]: CONNECTIONS_PER_NODE, [distance.remote]: 1 },
      maxRequestsPerConnection: REQUESTS_PER_CONNECTION_MAX,
    },
    socketOptions: {
      connectTimeout: CONNECT_MS_MAX,
      readTimeout: ANSWER_MS_MAX,
      tcpNoDelay: true,
      coalescingThreshold: WRITE_BYTES_MAX,
    },
    policies: {
      // Token-aware, within the data centre.
      ...(of === null ? { loadBalancing: new loadBalancing.RoundRobinPolicy() } : {}),
      reconnection: new reconnection.ExponentialReconnectionPolicy(RECONNECT_MS, RECONNECT_MS_MAX, false),
      retry: new retry.FallthroughRetryPolicy(),
      // Statements say their rows' timestamps, which the time of day must not take the place of.
      timestampGeneration: null as unknown as undefined,
    },
    queryOptions: { consistency: consistencies.localQuorum, isIdempotent: true },
    encoding: { useBigIntAsLong: true, useBigIntAsVarint: true },
  };
}
