/**
 * Apache Cassandra 5.0, one node on loopback, for integration tests. Needs Java 17 (the release runs on 11 and 17) and, the first
 * time, Maven, which fetches the jars into `TAILRACE_CACHE` (default: .cache beside this file).
 *
 * @module
 */
import { join } from "node:path";
import { cached, isCached, output } from "./cache.ts";
import { type Child, lastLines, startChild } from "./child.ts";
import { freePort } from "./free_port.ts";

const VERSION = "5.0.5";
const NAME = `cassandra-${VERSION}`;
const FETCH_WITHIN_MS = 400_000;
const START_WITHIN_MS = 300_000;
const HEAP = "768m";
/** `host:port` of a node that the integration tests share, which nobody stops. */
const SHARED = "TAILRACE_TEST_CASSANDRA";

export interface CassandraServer extends AsyncDisposable {
  /** `host:port` of the native protocol. */
  readonly address: string;
  readonly datacenter: string;
  /** Ends the node in order and removes its data. */
  stop(): Promise<void>;
  /** SIGKILL: nothing is flushed, nobody is told. The data stays. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on the same port and data; resolves when it answers. */
  restart(): Promise<void>;
  /** SIGSTOP: it holds its connections and answers nothing until `resume`. */
  freeze(): void;
  resume(): void;
}

export interface CassandraServerOptions {
  /**
   * Answers a write once it is synced, for tests with SIGKILL. Otherwise, as by Cassandra's default, what was answered in the last
   * tenth of a second before it is lost: it has no marker in the commit log yet.
   */
  readonly syncsWrites?: boolean;
  /** Asks for user and password; there is the user cassandra with the password cassandra. */
  readonly withPasswords?: boolean;
  /** Lines of cassandra.yaml, in place of those this gives. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Java's system properties, such as `cassandra.disk_usage.monitor_interval_ms`. */
  readonly properties?: Readonly<Record<string, string>>;
  /** Certificates: a PKCS#12 store for TLS on the native protocol. */
  readonly keystore?: { readonly file: string; readonly password: string };
}

/** Why Cassandra cannot run on this machine, in words; null when it can. */
export async function whyNoCassandra(): Promise<string | null> {
  const java = await output("java", ["-XshowSettings:properties", "-version"]);
  if ("why" in java) return "Java is not installed; Apache Cassandra needs Java 17";
  const major = await javaMajor();
  if (major !== 17) return `Apache Cassandra 5.0 needs Java 17, this machine has Java ${major}`;
  if (await isCached(NAME) || "stdout" in await output("mvn", ["-v"])) return null;
  return "Maven is not installed; it fetches Apache Cassandra's jars the first time";
}

async function javaMajor(): Promise<number> {
  const { stderr } = await new Deno.Command("java", { args: ["-version"], stdin: "null" }).output();
  return Number(/version "(\d+)/.exec(new TextDecoder().decode(stderr))?.[1] ?? 0);
}

/** The class path of Apache Cassandra, fetched when it is not there. */
export async function cassandraClassPath(): Promise<string> {
  const folder = await cached(NAME, async (fresh) => {
    console.log(`fetching Apache Cassandra ${VERSION} with Maven into ${fresh} (once)`);
    const pom = join(import.meta.dirname!, "cassandra", "pom.xml");
    const fetched = await output("mvn", [
      ...["-B", "-q", "-f", pom, "dependency:copy-dependencies", `-DoutputDirectory=${fresh}`],
    ], { withinMs: FETCH_WITHIN_MS });
    if ("why" in fetched) throw new Error(`Cannot fetch Apache Cassandra's jars:\n${fetched.why}`);
  });
  return join(folder, "*");
}

/** Starts a node on free ports with empty folders and resolves when it answers. Ask `whyNoCassandra` before. */
export async function startCassandra(options: CassandraServerOptions = {}): Promise<CassandraServer> {
  const classPath = await cassandraClassPath();
  const folder = await Deno.makeTempDir({ prefix: "tailrace-cassandra-" });
  const port = freePort();
  const yaml = join(folder, "cassandra.yaml");
  await Deno.writeTextFile(yaml, settingsFor({ port, storagePort: freePort(), folder, options }));
  const logFile = join(folder, "cassandra.log");
  const args = [
    ...[`-Xms${HEAP}`, `-Xmx${HEAP}`, "-XX:+UseSerialGC", "-Xss512k", ...JAVA_17],
    ...[`-Dcassandra.config=file://${yaml}`, `-Dcassandra.storagedir=${folder}/data`],
    ...[`-Dlogback.configurationFile=${join(import.meta.dirname!, "cassandra", "logback.xml")}`],
    ...["-Djava.awt.headless=true", "-Dcassandra-foreground=yes", `-Djava.io.tmpdir=${folder}`],
    // A single node asks nobody and waits for nobody.
    ...["-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=0"],
    ...["-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.jmx.local.port=" + freePort()],
    ...Object.entries(options.properties ?? {}).map(([name, value]) => `-D${name}=${value}`),
    ...["-cp", classPath, "org.apache.cassandra.service.CassandraDaemon"],
  ];
  let child: Child | null = null;
  const start = async () => {
    child = startChild("java", args, { logFile, cwd: folder });
    let over = false;
    child.ended.then(() => over = true);
    const stillUp = async () => {
      if (over) throw new Error(`Cassandra ended while it started:\n${await lastLines(logFile, 40)}`);
    };
    await answers(port, { stillUp, logFile, isTls: options.keystore !== undefined });
  };
  const signal = (name: Deno.Signal) => Deno.kill(child!.pid, name);
  let stopped: Promise<void> | null = null;
  const stop = async () => {
    await child?.stop("SIGKILL");
    await Deno.remove(folder, { recursive: true });
  };
  const server: CassandraServer = {
    address: `127.0.0.1:${port}`,
    datacenter: "datacenter1",
    stop: () => stopped ??= stop(),
    kill: async () => await child?.stop("SIGKILL"),
    restart: start,
    freeze: () => signal("SIGSTOP"),
    resume: () => signal("SIGCONT"),
    [Symbol.asyncDispose]: () => stopped ??= stop(),
  };
  try {
    await start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** What a test that leaves its node alone needs of one. */
export interface BorrowedCassandra extends AsyncDisposable {
  readonly address: string;
}

/** The node that the integration tests share; one of its own, without passwords and TLS, where there is none. */
export async function borrowCassandra(): Promise<BorrowedCassandra> {
  const address = Deno.env.get(SHARED);
  return address === undefined ? await startCassandra() : { address, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** What the release's own jvm17-server.options open. */
const JAVA_17 = [
  "-Djdk.attach.allowAttachSelf=true",
  "-Dio.netty.tryReflectionSetAccessible=true",
  ...[
    ...["java.base/jdk.internal.misc", "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.base/sun.nio.ch"],
    ...["java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.rmi/sun.rmi.transport.tcp", "java.sql/java.sql"],
    ...["java.base/java.lang.ref", "jdk.unsupported/sun.misc", "jdk.compiler/com.sun.tools.javac.file"],
  ].flatMap((part) => ["--add-exports", `${part}=ALL-UNNAMED`]),
  ...[
    ...["java.base/java.lang.module", "java.base/jdk.internal.loader", "java.base/jdk.internal.ref"],
    ...["java.base/jdk.internal.reflect", "java.base/jdk.internal.math", "java.base/jdk.internal.module"],
    ...["java.base/jdk.internal.util.jar", "jdk.management/com.sun.management.internal", "java.base/sun.nio.ch"],
    ...["java.base/java.io", "java.base/java.lang", "java.base/java.lang.reflect", "java.base/java.util"],
    ...["java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic", "java.base/java.nio"],
    ...["java.base/java.net", "java.rmi/sun.rmi.transport.tcp"],
  ].flatMap((part) => ["--add-opens", `${part}=ALL-UNNAMED`]),
];

function settingsFor(
  { port, storagePort, folder, options }: {
    readonly port: number;
    readonly storagePort: number;
    readonly folder: string;
    readonly options: CassandraServerOptions;
  },
): string {
  const { syncsWrites = false, withPasswords = false, settings = {}, keystore } = options;
  const all: Record<string, string> = {
    cluster_name: "tailrace",
    num_tokens: "4",
    partitioner: "org.apache.cassandra.dht.Murmur3Partitioner",
    ...(syncsWrites ? { commitlog_sync: "batch" } : { commitlog_sync: "periodic", commitlog_sync_period: "10000ms" }),
    commitlog_segment_size: "16MiB",
    // A busy machine takes its time; what a sink does with a node that does not answer is tried with one that is frozen or cut off.
    ...Object.fromEntries(
      ["write_request", "read_request", "range_request", "cas_contention"].map((what) => [`${what}_timeout`, "20s"]),
    ),
    seed_provider: JSON.stringify([{
      class_name: "org.apache.cassandra.locator.SimpleSeedProvider",
      parameters: [{ seeds: `127.0.0.1:${storagePort}` }],
    }]),
    listen_address: "127.0.0.1",
    rpc_address: "127.0.0.1",
    storage_port: String(storagePort),
    native_transport_port: String(port),
    start_native_transport: "true",
    endpoint_snitch: "SimpleSnitch",
    auto_bootstrap: "false",
    memtable_heap_space: "128MiB",
    memtable_offheap_space: "128MiB",
    key_cache_size: "16MiB",
    authenticator: withPasswords ? "PasswordAuthenticator" : "AllowAllAuthenticator",
    authorizer: withPasswords ? "CassandraAuthorizer" : "AllowAllAuthorizer",
    role_manager: "CassandraRoleManager",
    hints_directory: `${folder}/data/hints`,
    ...(keystore === undefined ? {} : {
      client_encryption_options: JSON.stringify({
        enabled: true,
        optional: false,
        keystore: keystore.file,
        keystore_password: keystore.password,
        store_type: "PKCS12",
      }),
    }),
    ...settings,
  };
  return Object.entries(all).map(([name, value]) => `${name}: ${value}\n`).join("");
}

/** OPTIONS of version 4 of the native protocol: an empty frame that every node answers, whoever asks. */
const OPTIONS = new Uint8Array([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0]);

/**
 * Resolves when the node answers a frame. One that wants TLS does not answer one in clear, and listens only once it serves. `stillUp`
 * throws when waiting is in vain.
 */
async function answers(
  port: number,
  { stillUp, logFile, isTls }: {
    readonly stillUp: () => Promise<void>;
    readonly logFile: string;
    readonly isTls: boolean;
  },
): Promise<void> {
  const deadline = performance.now() + START_WITHIN_MS;
  for (;;) {
    await stillUp();
    try {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      if (isTls) return;
      await connection.write(OPTIONS);
      if ((await connection.read(new Uint8Array(64)) ?? 0) > 0) return;
    } catch {
      // Nobody listens yet.
    }
    if (performance.now() > deadline) {
      throw new Error(`Cassandra does not answer in ${START_WITHIN_MS} ms:\n${await lastLines(logFile, 40)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
