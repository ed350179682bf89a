/**
 * Apache Kafka 4.1, one node in KRaft mode, for integration tests. Needs Java 17 and, the first time, Maven, which fetches the
 * jars into `TAILRACE_CACHE` (default: .cache beside this file).
 *
 * @module
 */
import { dirname, join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import "../../pipeline/log/kafkajs_timers.ts";
import { output, thrice } from "./cache.ts";
import { type Child, lastLines, startChild } from "./child.ts";
import { freePort } from "./free_port.ts";

const VERSION = "4.1.0";
const FETCH_WITHIN_MS = 400_000;
const START_WITHIN_MS = 240_000;
/** Set by a run that has a broker for all its test files: its `host:port`. */
const SHARED = "TAILRACE_TEST_BROKERS";

export interface KafkaServer extends AsyncDisposable {
  readonly brokers: string[];
  /** Ends the broker in order and removes its data. */
  stop(): Promise<void>;
  /** SIGKILL: nothing is flushed, nobody is told. The data stays. */
  kill(): Promise<void>;
  /** Starts it again, after `kill` or running, on the same ports and data; resolves when it answers. */
  restart(): Promise<void>;
}

/** Why Kafka cannot run on this machine, in words; null when it can. */
export async function whyNoKafka(): Promise<string | null> {
  const java = await firstLine("java", ["-version"]);
  if (java === null) return "Java is not installed; Apache Kafka needs Java 17 or later";
  const major = Number(/version "(\d+)/.exec(java)?.[1] ?? 0);
  if (major < 17) return `Apache Kafka needs Java 17 or later, this machine has: ${java}`;
  if (await hasJars() || await firstLine("mvn", ["-v"]) !== null) return null;
  return "Maven is not installed; it fetches Apache Kafka's jars the first time";
}

async function firstLine(program: string, args: string[]): Promise<string | null> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
    if (!success) return null;
    return new TextDecoder().decode(stdout.length > 0 ? stdout : stderr).split("\n")[0];
  } catch {
    return null;
  }
}

function libraryFolder(): string {
  const cache = Deno.env.get("TAILRACE_CACHE") || join(import.meta.dirname!, ".cache");
  return join(cache, `kafka-${VERSION}`);
}

async function hasJars(): Promise<boolean> {
  return await Deno.stat(join(libraryFolder(), `kafka_2.13-${VERSION}.jar`)).then(() => true, () => false);
}

/** Fetches the jars once, also when several processes ask at the same time. */
async function fetchJars(): Promise<void> {
  const folder = libraryFolder();
  await Deno.mkdir(dirname(folder), { recursive: true });
  using lock = await Deno.open(`${folder}.lock`, { create: true, write: true });
  await lock.lock(true);
  if (await hasJars()) return;
  console.log(`fetching Apache Kafka ${VERSION} with Maven into ${folder} (once)`);
  const fresh = `${folder}.new`;
  const pom = join(import.meta.dirname!, "kafka", "pom.xml");
  await thrice(async () => {
    await Deno.remove(fresh, { recursive: true }).catch(() => {});
    const copy = ["-B", "-q", "-f", pom, "dependency:copy-dependencies", `-DoutputDirectory=${fresh}`];
    const fetched = await output("mvn", copy, { withinMs: FETCH_WITHIN_MS });
    if ("why" in fetched) throw new Error(`Cannot fetch Apache Kafka's jars:\n${fetched.why}`);
  });
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.rename(fresh, folder);
}

/** The class path of Apache Kafka, its clients included, fetched when it is not there. Ask `whyNoKafka` before. */
export async function kafkaClassPath(): Promise<string> {
  await fetchJars();
  return join(libraryFolder(), "*");
}

/**
 * Starts a broker on free ports with an empty data folder and resolves when it answers.
 *
 * @param options.heap Java's heap, e.g. "1g". `settings` adds lines to server.properties.
 */
export async function startKafka(
  options: { heap?: string; settings?: Record<string, string> } = {},
): Promise<KafkaServer> {
  const why = await whyNoKafka();
  if (why !== null) throw new Error(why);
  await fetchJars();
  const folder = await Deno.makeTempDir({ prefix: "tailrace-kafka-" });
  const port = freePort();
  const properties = join(folder, "server.properties");
  await Deno.writeTextFile(
    properties,
    propertiesFor({ port, controller: freePort(), folder, more: options.settings ?? {} }),
  );
  const libraries = join(libraryFolder(), "*");
  const logFile = join(folder, "kafka.log");
  const quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
  const id = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16)))).replaceAll("+", "-").replaceAll(
    "/",
    "_",
  );
  const format = await new Deno.Command("java", {
    args: [
      "-Xmx256m",
      quiet,
      "-cp",
      libraries,
      "kafka.tools.StorageTool",
      "format",
      // In one word: it may begin with a dash.
      `--cluster-id=${id.slice(0, 22)}`,
      "-c",
      properties,
    ],
    stdin: "null",
  }).output();
  if (!format.success) throw new Error(`Cannot format Kafka's data folder: ${new TextDecoder().decode(format.stderr)}`);
  const brokers = [`127.0.0.1:${port}`];
  let child: Child | null = null;
  const start = async () => {
    const heap = options.heap ?? "1g";
    child = startChild("java", [`-Xmx${heap}`, "-XX:+UseG1GC", quiet, "-cp", libraries, "kafka.Kafka", properties], {
      logFile,
    });
    let over = false;
    child.ended.then(() => over = true);
    await answers(brokers, async () => {
      if (over) throw new Error(`Kafka ended while it started:\n${await lastLines(logFile)}`);
    });
  };
  let stopped: Promise<void> | null = null;
  const stop = async () => {
    await child?.stop();
    await Deno.remove(folder, { recursive: true });
  };
  const server: KafkaServer = {
    brokers,
    stop: () => stopped ??= stop(),
    kill: async () => await child?.stop("SIGKILL"),
    restart: async () => {
      await child?.stop();
      await start();
    },
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

/** The run's shared broker, or one of our own: for tests that neither stop it nor mind other topics. */
export async function borrowKafka(): Promise<{ readonly brokers: string[] } & AsyncDisposable> {
  const shared = Deno.env.get(SHARED);
  if (shared) return { brokers: shared.split(","), [Symbol.asyncDispose]: () => Promise.resolve() };
  return await startKafka();
}

function propertiesFor(
  { port, controller, folder, more }: {
    port: number;
    controller: number;
    folder: string;
    more: Record<string, string>;
  },
): string {
  const settings = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.voters": `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port}`,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "log.dirs": join(folder, "data"),
    "num.partitions": "4",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    ...more,
  };
  return Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join("");
}

/** Resolves when a client gets the cluster's description with a broker in it. `stillUp` throws when waiting is in vain. */
async function answers(brokers: string[], stillUp: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + START_WITHIN_MS;
  for (;;) {
    await stillUp();
    const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { retries: 0 }, connectionTimeout: 1_000 })
      .admin();
    try {
      await admin.connect();
      const cluster = await admin.describeCluster();
      if (cluster.brokers.length > 0 && cluster.controller !== null) return;
    } catch (error) {
      if (performance.now() > deadline) {
        throw new Error(`Kafka does not answer in ${START_WITHIN_MS} ms`, { cause: error });
      }
    } finally {
      await admin.disconnect();
    }
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}
