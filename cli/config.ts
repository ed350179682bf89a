/**
 * The settings: each can come from a flag, the environment or a configuration file, in this order of precedence.
 *
 * @module
 */
import { HIDDEN, hideSecret, hideUrlPassword, withoutPassword } from "../api/security/redact.ts";
import type { SettingShown } from "../api/security/security.ts";
import { ConfigError, type Fault } from "../pipeline/errors.ts";
import { BULK_LIMITS } from "../pipeline/ingest/bulk.ts";
import type { SaslOptions } from "../pipeline/log/sasl.ts";
import type { Until } from "../pipeline/runtime/bounds.ts";
import { parseDuration, showDuration } from "../pipeline/plan/durations.ts";
import { cassandraNameFault } from "../pipeline/sinks/cassandra/definition.ts";
import { type CassandraOptions, DEFAULT_KEYSPACE } from "../pipeline/sinks/cassandra/options.ts";
import { parseS3Url, type S3Options } from "../pipeline/sinks/lake/s3/options.ts";

export { withoutPassword };

/** What a bounded run can do once results are there. */
export type Afterwards = "compact" | "audit";

/** Everything a running Tailrace is told. */
export interface Config {
  /** Embedded parts and generator included (`dev`), or only what the addresses name (`run`). */
  readonly mode: "dev" | "run";
  readonly dataDir: string;
  /** `host:port` of each bootstrap broker; empty starts the embedded broker. */
  readonly brokers: readonly string[];
  readonly kafka: { readonly ssl: boolean; readonly sasl: SaslOptions | null };
  /** Base URL of the schema registry; empty starts the embedded one. */
  readonly registryUrl: string;
  /** postgres:// URL; empty starts the embedded PostgreSQL. */
  readonly databaseUrl: string;
  /** Address that the API, and the embedded parts, listen on. */
  readonly host: string;
  readonly ports: {
    readonly api: number;
    readonly broker: number;
    readonly registry: number;
    readonly postgres: number;
  };
  /** Names of the pipelines to run; empty runs all in `streams/`. */
  readonly pipelines: readonly string[];
  /** Run over what is there and end: all of it, or the records before a time. Null to go on. */
  readonly until: Until | null;
  /** What a bounded run does once results are there. */
  readonly afterwards: readonly Afterwards[];
  /** Threads for reading and folding. */
  readonly workers: number;
  /** Generated transactions per second in dev; Infinity for as fast as it goes, 0 for none. */
  readonly rate: number;
  /** Partitions of the topics that dev creates. */
  readonly partitions: number;
  /** Longest time between two checkpoints of a pipeline. */
  readonly checkpointEveryMs: number;
  /** Bound of the embedded broker's topics together, -1 for none, and what happens then. */
  readonly buffer: { readonly bytes: number; readonly whenFull: "drop" | "refuse" };
  /** Bounds of bulk requests: bytes of one body, and of the records that all together hold. */
  readonly bulk: { readonly bodyBytesMax: number; readonly heldBytesMax: number };
  readonly lake: LakeConfig;
  /** Null where there is none: what goes to it rests. */
  readonly cassandra: CassandraConfig | null;
  /** File of the API's keys. */
  readonly apiKeysFile: string;
  /** Host names the API answers to besides its own, without ports. */
  readonly apiHosts: readonly string[];
}

export interface LakeConfig {
  /** `file:///srv/lake`, `s3://bucket/prefix`; empty for the folder `lake` in the data folder. */
  readonly url: string;
  /** Null unless the lake is in a bucket. */
  readonly s3: S3Options | null;
  /** Bound of the local copies of a bucket's objects. */
  readonly cacheBytes: number;
  /** How long files stay that a table no longer names: time travel reaches back as far, and slow readers depend on it. */
  readonly retentionMs: number;
}

/** As the driver wants it, but for the authorities' certificates, which are in a file. */
export interface CassandraConfig extends Omit<CassandraOptions, "tls"> {
  /** Null without TLS; `authoritiesFile` is empty for those that the runtime trusts. */
  readonly tls: { readonly authoritiesFile: string } | null;
}

/** A value as it was given, or the problem with it. */
type Parsed<T> = { readonly value: T } | { readonly problem: string };

interface Setting<T> {
  /** `--flag` on the command line and key in the configuration file. */
  readonly flag: string;
  readonly variable: string;
  readonly fallback: T;
  /** The fallback as it would be given, where that is not its own text. */
  readonly shown?: string;
  readonly parse: (text: string) => Parsed<T>;
  /** For `--help`: what to give, and what it does. */
  readonly placeholder: string;
  readonly help: string;
  /** Not a flag: command lines are seen by others. */
  readonly secret?: true;
  readonly modes?: readonly Config["mode"][];
}

const port = (text: string) => integer(text, 0, 65_535);

/** All settings, in the order of `--help`. */
export const SETTINGS = {
  data: setting({
    flag: "data",
    variable: "TAILRACE_DATA",
    fallback: "data",
    parse: some,
    placeholder: "DIR",
    help: "folder for all that is kept",
  }),
  brokers: setting({
    flag: "brokers",
    variable: "KAFKA_BROKERS",
    fallback: [] as string[],
    parse: addresses,
    placeholder: "HOST:PORT,...",
    help: "Kafka brokers; in dev an embedded broker where none are named",
  }),
  ssl: setting({
    flag: "kafka-ssl",
    variable: "KAFKA_SSL",
    fallback: false,
    parse: flag,
    placeholder: "true|false",
    help: "talk TLS to the brokers",
  }),
  mechanism: setting({
    flag: "kafka-sasl-mechanism",
    variable: "KAFKA_SASL_MECHANISM",
    fallback: "" as SaslOptions["mechanism"] | "",
    parse: oneOf(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
    placeholder: "NAME",
    help: "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
  }),
  username: setting({
    flag: "kafka-sasl-username",
    variable: "KAFKA_SASL_USERNAME",
    fallback: "",
    parse: some,
    placeholder: "NAME",
    help: "for SASL",
  }),
  password: setting({
    flag: "kafka-sasl-password",
    variable: "KAFKA_SASL_PASSWORD",
    fallback: "",
    parse: some,
    placeholder: "TEXT",
    help: "the password for SASL",
    secret: true,
  }),
  registry: setting({
    flag: "registry",
    variable: "SCHEMA_REGISTRY_URL",
    fallback: "",
    parse: url(["http:", "https:"]),
    placeholder: "URL",
    help: "Confluent schema registry; in dev an embedded one where none is named",
  }),
  database: setting({
    flag: "database",
    variable: "DATABASE_URL",
    fallback: "",
    parse: url(["postgres:", "postgresql:"]),
    placeholder: "URL",
    help: "PostgreSQL for results; in dev an embedded one where none is named",
  }),
  host: setting({
    flag: "host",
    variable: "TAILRACE_HOST",
    fallback: "127.0.0.1",
    parse: some,
    placeholder: "ADDRESS",
    help: "address to listen on",
  }),
  port: setting({
    flag: "port",
    variable: "TAILRACE_PORT",
    fallback: 8000,
    parse: port,
    placeholder: "N",
    help: "port of the API and the dashboard",
  }),
  brokerPort: setting({
    flag: "broker-port",
    variable: "TAILRACE_BROKER_PORT",
    fallback: 9092,
    parse: port,
    placeholder: "N",
    help: "port of the embedded broker",
    modes: ["dev"],
  }),
  registryPort: setting({
    flag: "registry-port",
    variable: "TAILRACE_REGISTRY_PORT",
    fallback: 8081,
    parse: port,
    placeholder: "N",
    help: "port of the embedded registry",
    modes: ["dev"],
  }),
  postgresPort: setting({
    flag: "postgres-port",
    variable: "TAILRACE_POSTGRES_PORT",
    fallback: 54329,
    parse: port,
    placeholder: "N",
    help: "port of the embedded PostgreSQL",
    modes: ["dev"],
  }),
  pipelines: setting({
    flag: "pipelines",
    variable: "TAILRACE_PIPELINES",
    fallback: [] as string[],
    parse: list,
    placeholder: "NAME,...",
    help: "pipelines, sources and deliveries to run; all in streams/ where none are named",
  }),
  until: setting({
    flag: "until",
    variable: "TAILRACE_UNTIL",
    fallback: null as Until | null,
    shown: "never",
    parse: until,
    placeholder: "latest|TIME",
    help: "run over what is there, or over records before a time, and end with a summary in JSON",
  }),
  afterwards: setting({
    flag: "then",
    variable: "TAILRACE_THEN",
    fallback: [] as Afterwards[],
    parse: afterwards,
    placeholder: "compact,audit",
    help: "with --until: compact the lake's tables afterwards, and wait for an audit of the results",
  }),
  workers: setting({
    flag: "workers",
    variable: "TAILRACE_WORKERS",
    fallback: Math.min(4, navigator.hardwareConcurrency),
    parse: (text) => integer(text, 1, 64),
    placeholder: "N",
    help: "threads that read and aggregate",
  }),
  rate: setting({
    flag: "rate",
    variable: "TAILRACE_RATE",
    fallback: 3000,
    parse: rate,
    placeholder: "N|max",
    help: "generated transactions per second; 0 for none",
    modes: ["dev"],
  }),
  partitions: setting({
    flag: "partitions",
    variable: "TAILRACE_PARTITIONS",
    fallback: 4,
    parse: (text) => integer(text, 1, 1000),
    placeholder: "N",
    help: "partitions of topics that are created",
  }),
  checkpointEvery: setting({
    flag: "checkpoint-every",
    variable: "TAILRACE_CHECKPOINT_EVERY",
    fallback: 5000,
    shown: "5",
    parse: (text) => seconds(text, 0.1, 3600),
    placeholder: "SECONDS",
    help: "longest time between two checkpoints",
  }),
  bufferBytes: setting({
    flag: "buffer-bytes",
    variable: "TAILRACE_BUFFER_BYTES",
    fallback: -1,
    shown: "none",
    parse: (text) => text === "none" ? { value: -1 } : byteCount(text, 2 ** 20, 2 ** 50),
    placeholder: "SIZE|none",
    help: "what the embedded broker's topics may take together, such as 2GiB; none leaves each its own retention",
    modes: ["dev"],
  }),
  bufferWhenFull: setting({
    flag: "buffer-when-full",
    variable: "TAILRACE_BUFFER_WHEN_FULL",
    fallback: "drop" as "drop" | "refuse",
    parse: oneOf(["drop", "refuse"]),
    placeholder: "drop|refuse",
    help: "then drop the oldest records, forwarded or not, or refuse new ones",
    modes: ["dev"],
  }),
  bulkBytes: setting({
    flag: "bulk-bytes",
    variable: "TAILRACE_BULK_BYTES",
    fallback: BULK_LIMITS.bodyBytesMax,
    shown: "64MiB",
    parse: (text) => byteCount(text, 2 ** 20, 2 ** 29),
    placeholder: "SIZE",
    help: "largest body of a bulk request, as sent and unpacked",
  }),
  bulkMemory: setting({
    flag: "bulk-memory",
    variable: "TAILRACE_BULK_MEMORY",
    fallback: BULK_LIMITS.heldBytesMax,
    shown: "512MiB",
    parse: (text) => byteCount(text, 2 ** 20, 2 ** 36),
    placeholder: "SIZE",
    help: "records that all bulk requests together may hold in memory; more are told to come later",
  }),
  lake: setting({
    flag: "lake",
    variable: "TAILRACE_LAKE",
    fallback: "",
    parse: lakeUrl,
    placeholder: "URL",
    help:
      "where the lake is, file:///folder or s3://bucket/prefix; the folder lake in the data folder where none is named",
  }),
  lakeCache: setting({
    flag: "lake-cache",
    variable: "TAILRACE_LAKE_CACHE",
    fallback: 10 * 2 ** 30,
    shown: "10GiB",
    parse: (text) => byteCount(text, 64 * 2 ** 20, 2 ** 50),
    placeholder: "SIZE",
    help: "disk for local copies of what is in a bucket",
  }),
  lakeRetention: setting({
    flag: "lake-retention",
    variable: "TAILRACE_LAKE_RETENTION",
    fallback: 7 * 86_400_000,
    shown: "7d",
    parse: (text) => duration(text, 3_600_000),
    placeholder: "TIME",
    help: "how long files stay that a table no longer names: how far back time travel reaches",
  }),
  s3Endpoint: setting({
    flag: "s3-endpoint",
    variable: "TAILRACE_S3_ENDPOINT",
    fallback: "",
    parse: origin,
    placeholder: "URL",
    help: "address of the S3 store; Amazon's where none is named",
  }),
  s3Region: setting({
    flag: "s3-region",
    variable: "TAILRACE_S3_REGION",
    fallback: "",
    parse: regionName,
    placeholder: "NAME",
    help: "region of the bucket; us-east-1 where an address is named and no region",
  }),
  s3AccessKey: setting({
    flag: "s3-access-key-id",
    variable: "TAILRACE_S3_ACCESS_KEY_ID",
    fallback: "",
    parse: headerText,
    placeholder: "ID",
    help: "access key for the bucket",
  }),
  s3Secret: setting({
    flag: "s3-secret-access-key",
    variable: "TAILRACE_S3_SECRET_ACCESS_KEY",
    fallback: "",
    parse: headerText,
    placeholder: "TEXT",
    help: "the access key's secret",
    secret: true,
  }),
  s3SessionToken: setting({
    flag: "s3-session-token",
    variable: "TAILRACE_S3_SESSION_TOKEN",
    fallback: "",
    parse: headerText,
    placeholder: "TEXT",
    help: "the token of an access key that is lent for a time",
    secret: true,
  }),
  s3PathStyle: setting({
    flag: "s3-path-style",
    variable: "TAILRACE_S3_PATH_STYLE",
    fallback: null as boolean | null,
    shown: "auto",
    parse: pathStyle,
    placeholder: "true|false|auto",
    help: "the bucket in the path (true) or in the host's name (false); in the path where an address is named",
  }),
  cassandra: setting({
    flag: "cassandra",
    variable: "TAILRACE_CASSANDRA",
    fallback: [] as string[],
    parse: addresses,
    placeholder: "HOST:PORT,...",
    help: "nodes of Cassandra to ask for the others; what goes to Cassandra rests where none are named",
  }),
  cassandraDatacenter: setting({
    flag: "cassandra-datacenter",
    variable: "TAILRACE_CASSANDRA_DATACENTER",
    fallback: "",
    parse: some,
    placeholder: "NAME",
    help: "Cassandra's data centre to write to; that of the first node where none is named",
  }),
  cassandraKeyspace: setting({
    flag: "cassandra-keyspace",
    variable: "TAILRACE_CASSANDRA_KEYSPACE",
    fallback: DEFAULT_KEYSPACE,
    parse: keyspaceName,
    placeholder: "NAME",
    help: "keyspace of the tables in Cassandra; made where it is missing",
  }),
  cassandraUsername: setting({
    flag: "cassandra-username",
    variable: "TAILRACE_CASSANDRA_USERNAME",
    fallback: "",
    parse: some,
    placeholder: "NAME",
    help: "user of Cassandra",
  }),
  cassandraPassword: setting({
    flag: "cassandra-password",
    variable: "TAILRACE_CASSANDRA_PASSWORD",
    fallback: "",
    parse: some,
    placeholder: "TEXT",
    help: "the password of Cassandra's user",
    secret: true,
  }),
  cassandraTls: setting({
    flag: "cassandra-tls",
    variable: "TAILRACE_CASSANDRA_TLS",
    fallback: false,
    parse: flag,
    placeholder: "true|false",
    help: "talk TLS to Cassandra",
  }),
  cassandraCa: setting({
    flag: "cassandra-ca",
    variable: "TAILRACE_CASSANDRA_CA",
    fallback: "",
    parse: some,
    placeholder: "FILE",
    help: "certificates (PEM) of the authorities that Cassandra's are of; without it those that this machine trusts",
  }),
  apiKeys: setting({
    flag: "api-keys",
    variable: "TAILRACE_API_KEYS",
    fallback: "",
    parse: some,
    placeholder: "FILE",
    help: "file of the API's keys, which `tailrace key` makes; api-keys.json in the data folder where none is named",
  }),
  apiHosts: setting({
    flag: "api-hosts",
    variable: "TAILRACE_API_HOSTS",
    fallback: [] as string[],
    parse: hostNames,
    placeholder: "NAME,...",
    help: "host names the API answers to besides its own",
  }),
};

/** Where settings are looked for. */
export interface ConfigSources {
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The configuration file's content, keys as the flags; null without a file. */
  readonly file: { readonly path: string; readonly content: unknown } | null;
}

/** Settings that apply in a mode. */
export function settingsOf(mode: Config["mode"]): Setting<unknown>[] {
  return Object.values<Setting<unknown>>(SETTINGS).filter(({ modes }) => !modes || modes.includes(mode));
}

/** Merges and checks all settings. @throws ConfigError with every fault found */
export function readConfig(mode: Config["mode"], sources: ConfigSources): Config {
  const faults: Fault[] = [];
  const file = fileValues(mode, sources, faults);
  const names = new Map<unknown, string>();
  const get = <T>(of: Setting<T>): T => {
    const given = givenFor(of, sources, file);
    names.set(of, given?.where ?? of.variable);
    if (!given) return of.fallback;
    const parsed = of.parse(given.text!);
    if ("value" in parsed) return parsed.value;
    faults.push({
      where: given.where,
      problem: of.secret ? parsed.problem : `"${withoutPassword(given.text!)}" ${parsed.problem}`,
    });
    return of.fallback;
  };
  const isFaulty = (of: Setting<unknown>) => faults.some(({ where }) => where === names.get(of));
  const need = (of: Setting<unknown>, missing: boolean, problem: string) => {
    if (missing && !isFaulty(of)) faults.push({ where: names.get(of)!, problem });
  };
  const settings = SETTINGS;
  const mechanism = get(settings.mechanism);
  const username = get(settings.username);
  const password = get(settings.password);
  const config: Config = {
    mode,
    dataDir: get(settings.data),
    brokers: get(settings.brokers),
    kafka: { ssl: get(settings.ssl), sasl: mechanism === "" ? null : { mechanism, username, password } },
    registryUrl: get(settings.registry).replace(/\/$/, ""),
    databaseUrl: get(settings.database),
    host: get(settings.host),
    ports: {
      api: get(settings.port),
      broker: get(settings.brokerPort),
      registry: get(settings.registryPort),
      postgres: get(settings.postgresPort),
    },
    pipelines: get(settings.pipelines),
    until: get(settings.until),
    afterwards: get(settings.afterwards),
    workers: get(settings.workers),
    rate: mode === "dev" ? get(settings.rate) : 0,
    partitions: get(settings.partitions),
    checkpointEveryMs: get(settings.checkpointEvery),
    buffer: mode === "dev"
      ? { bytes: get(settings.bufferBytes), whenFull: get(settings.bufferWhenFull) }
      : { bytes: -1, whenFull: "drop" },
    bulk: { bodyBytesMax: get(settings.bulkBytes), heldBytesMax: get(settings.bulkMemory) },
    lake: lakeConfig(get, need, { names, isFaulty }),
    cassandra: cassandraConfig(get, need, { names, isFaulty }),
    apiKeysFile: get(settings.apiKeys) || `${get(settings.data)}/api-keys.json`,
    apiHosts: get(settings.apiHosts),
  };
  if (mode === "run") {
    const hint = "is not set; `dev` would start an embedded one";
    need(settings.brokers, config.brokers.length === 0, hint);
    need(settings.registry, config.registryUrl === "", hint);
    need(settings.database, config.databaseUrl === "", hint);
  }
  need(settings.username, mechanism !== "" && username === "", `is needed with ${names.get(settings.mechanism)}`);
  need(settings.password, mechanism !== "" && password === "", `is needed with ${names.get(settings.mechanism)}`);
  need(settings.mechanism, mechanism === "" && username !== "", `is needed with ${names.get(settings.username)}`);
  need(
    settings.until,
    config.afterwards.length > 0 && config.until === null,
    `is needed with ${names.get(settings.afterwards)}`,
  );
  const embedded = {
    api: config.until === null,
    broker: config.brokers.length === 0,
    registry: config.registryUrl === "",
    postgres: config.databaseUrl === "",
  };
  const wanted = (mode === "dev" ? Object.entries(config.ports) : []).filter(([part, number]) =>
    number !== 0 && embedded[part as keyof typeof embedded]
  );
  for (const [part, number] of wanted) {
    const other = wanted.find(([name, value]) => value === number && name < part);
    if (other) faults.push({ where: "ports", problem: `${other[0]} and ${part} are both to listen on ${number}` });
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return config;
}

function afterwards(text: string): Parsed<Afterwards[]> {
  const parts = text.split(",").map((part) => part.trim());
  const known = parts.filter((part): part is Afterwards => part === "compact" || part === "audit");
  return known.length === parts.length ? { value: known } : { problem: "is not compact, audit or compact,audit" };
}

/** What a run ends at. */
function until(text: string): Parsed<Until | null> {
  if (text === "latest") return { value: text };
  if (text === "never") return { value: null };
  const timeMs = Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && Number.isFinite(timeMs)) return { value: timeMs };
  return { problem: `is not "latest" and no time such as 2026-05-01T12:00:00Z` };
}

/** The lake's settings together: a bucket needs keys, and keys a bucket. */
function lakeConfig(
  get: <T>(of: Setting<T>) => T,
  need: (of: Setting<unknown>, missing: boolean, problem: string) => void,
  { names, isFaulty }: {
    readonly names: ReadonlyMap<unknown, string>;
    readonly isFaulty: (of: Setting<unknown>) => boolean;
  },
): LakeConfig {
  const settings = SETTINGS;
  const url = get(settings.lake);
  const endpoint = get(settings.s3Endpoint);
  const region = get(settings.s3Region);
  const accessKeyId = get(settings.s3AccessKey);
  const secretAccessKey = get(settings.s3Secret);
  const sessionToken = get(settings.s3SessionToken);
  const pathStyle = get(settings.s3PathStyle);
  const inBucket = url.startsWith("s3://");
  const because = `is needed with ${names.get(settings.lake)} = ${url}`;
  need(settings.s3AccessKey, inBucket && accessKeyId === "", because);
  need(settings.s3Secret, inBucket && secretAccessKey === "", because);
  const orAddress = `${because}, unless ${names.get(settings.s3Endpoint)} names a store's address`;
  const hasAddress = endpoint !== "" || isFaulty(settings.s3Endpoint);
  need(settings.s3Region, inBucket && region === "" && !hasAddress, orAddress);
  const given = endpoint !== "" ? settings.s3Endpoint : region !== "" ? settings.s3Region : settings.s3AccessKey;
  const isMeant = endpoint + region + accessKeyId !== "";
  need(settings.lake, url === "" && isMeant, `is needed with ${names.get(given)}: s3://bucket/prefix`);
  return {
    url,
    s3: inBucket
      ? { endpoint, region: region || "us-east-1", accessKeyId, secretAccessKey, sessionToken, pathStyle }
      : null,
    cacheBytes: get(settings.lakeCache),
    retentionMs: get(settings.lakeRetention),
  };
}

/** Cassandra's settings together: user and password, and none of them without nodes. */
function cassandraConfig(
  get: <T>(of: Setting<T>) => T,
  need: (of: Setting<unknown>, missing: boolean, problem: string) => void,
  { names, isFaulty }: {
    readonly names: ReadonlyMap<unknown, string>;
    readonly isFaulty: (of: Setting<unknown>) => boolean;
  },
): CassandraConfig | null {
  const settings = SETTINGS;
  const contactPoints = get(settings.cassandra);
  const datacenter = get(settings.cassandraDatacenter);
  const keyspace = get(settings.cassandraKeyspace);
  const username = get(settings.cassandraUsername);
  const password = get(settings.cassandraPassword);
  const isTls = get(settings.cassandraTls);
  const authoritiesFile = get(settings.cassandraCa);
  const because = (of: Setting<unknown>) => `is needed with ${names.get(of)}`;
  need(settings.cassandraPassword, username !== "" && password === "", because(settings.cassandraUsername));
  need(settings.cassandraUsername, username === "" && password !== "", because(settings.cassandraPassword));
  need(settings.cassandraTls, !isTls && authoritiesFile !== "", `${because(settings.cassandraCa)}: true`);
  if (contactPoints.length === 0) {
    const given = username !== "" ? settings.cassandraUsername : settings.cassandraDatacenter;
    need(settings.cassandra, !isFaulty(settings.cassandra) && username + datacenter !== "", because(given));
    return null;
  }
  return {
    contactPoints,
    datacenter: datacenter || null,
    keyspace,
    credentials: username === "" ? null : { username, password },
    tls: isTls ? { authoritiesFile } : null,
  };
}

interface Given {
  readonly origin: "flag" | "environment" | "file";
  /** Where to look when it is wrong. */
  readonly where: string;
  readonly text: string;
}

/** What a setting was given as, from the source that counts. */
function givenFor(of: Setting<unknown>, sources: ConfigSources, file: ReadonlyMap<string, string>): Given | undefined {
  const all = [
    { origin: "flag" as const, where: `--${of.flag}`, text: of.secret ? undefined : sources.flags[of.flag] },
    { origin: "environment" as const, where: of.variable, text: sources.environment[of.variable] || undefined },
    { origin: "file" as const, where: `${sources.file?.path}: ${of.flag}`, text: file.get(of.flag) },
  ];
  return all.find((given): given is Given => given.text !== undefined);
}

/** One setting by itself, for commands that need no more. @throws ConfigError */
export function readSetting<T>(of: Setting<T>, sources: ConfigSources): T {
  const given = givenFor(of, sources, new Map());
  if (!given) return of.fallback;
  const parsed = of.parse(given.text);
  if ("value" in parsed) return parsed.value;
  throw new ConfigError({ where: given.where, problem: `"${withoutPassword(given.text)}" ${parsed.problem}` });
}

/** What the environment says of settings, asked for by name: nothing else in it is this program's business. */
export function readEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.values(SETTINGS).map(({ variable }) => [variable, Deno.env.get(variable)]));
}

/** Every setting of a mode, its value as it may be shown and where it came from. */
export function showSettings(mode: Config["mode"], sources: ConfigSources): SettingShown[] {
  const file = fileValues(mode, sources, []);
  return settingsOf(mode).map((of) => {
    const given = givenFor(of, sources, file);
    const text = given?.text ?? defaultText(of);
    const value = of.secret && text !== "" ? HIDDEN : withoutPassword(text);
    return { name: of.flag, variable: of.variable, value, origin: given?.origin ?? "default" };
  });
}

/** The text that would give a setting its default. */
export function defaultText({ shown, fallback }: Setting<unknown>): string {
  return shown ?? String(fallback);
}

/** From now on no secret of these sources is shown, right or wrong as they may be. */
export function hideSecrets(sources: ConfigSources): void {
  const content = sources.file?.content;
  const file = typeof content === "object" && content !== null ? content as Record<string, unknown> : {};
  for (const { flag, variable, secret } of Object.values<Setting<unknown>>(SETTINGS)) {
    for (const text of [sources.flags[flag], sources.environment[variable], file[flag]]) {
      if (typeof text !== "string") continue;
      if (secret) hideSecret(text);
      hideUrlPassword(text);
    }
  }
}

/** The file's values as text, by key. */
function fileValues(mode: Config["mode"], { file }: ConfigSources, faults: Fault[]): Map<string, string> {
  const values = new Map<string, string>();
  if (!file) return values;
  if (typeof file.content !== "object" || file.content === null || Array.isArray(file.content)) {
    faults.push({ where: file.path, problem: 'must hold one JSON object, such as {"brokers": ["localhost:9092"]}' });
    return values;
  }
  const known = settingsOf(mode).map(({ flag }) => flag);
  for (const [key, value] of Object.entries(file.content)) {
    if (!known.includes(key)) {
      faults.push({
        where: `${file.path}: ${key}`,
        problem: `is no setting of ${mode}; settings are ${known.join(", ")}`,
      });
    } else if (Array.isArray(value) && !value.some(isNested)) values.set(key, value.join(","));
    else if (isNested(value)) {
      faults.push({ where: `${file.path}: ${key}`, problem: "must be text, a number, true or false" });
    } else values.set(key, String(value));
  }
  return values;
}

function isNested(value: unknown): boolean {
  return value === null || typeof value === "object";
}

function setting<T>(of: Setting<T>): Setting<T> {
  return of;
}

function some(text: string): Parsed<string> {
  return text.trim() === "" ? { problem: "is empty" } : { value: text };
}

function list(text: string): Parsed<string[]> {
  const value = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  return value.length > 0 ? { value } : { problem: "names nothing; leave it out for all" };
}

function hostNames(text: string): Parsed<string[]> {
  const parsed = list(text);
  const wrong = "value" in parsed && parsed.value.find((name) => !/^(\[[0-9a-f:]+\]|[a-z0-9._-]+)$/i.test(name));
  return wrong ? { problem: `must be names without scheme and port; "${wrong}" is not` } : parsed;
}

function addresses(text: string): Parsed<string[]> {
  const parts = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  const wrong = parts.find((part) =>
    !/^(\[[0-9a-fA-F:]+\]|[^:\s/]+):\d{1,5}$/.test(part) || Number(part.slice(part.lastIndexOf(":") + 1)) > 65_535
  );
  return wrong === undefined
    ? { value: parts }
    : { problem: `must be host:port, several with commas; "${withoutPassword(wrong)}" is not` };
}

function flag(text: string): Parsed<boolean> {
  return text === "true" || text === "false" ? { value: text === "true" } : { problem: "must be true or false" };
}

function oneOf<T extends string>(values: readonly T[]): (text: string) => Parsed<T> {
  return (text) =>
    values.includes(text as T) ? { value: text as T } : { problem: `must be one of ${values.join(", ")}` };
}

function url(protocols: readonly string[]): (text: string) => Parsed<string> {
  return (text) => {
    const parsed = URL.parse(text);
    return parsed && protocols.includes(parsed.protocol)
      ? { value: text }
      : { problem: `must be a URL that starts with ${protocols.join("// or ")}//` };
  };
}

function integer(text: string, least: number, most: number): Parsed<number> {
  const value = Number(text);
  return text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most
    ? { value }
    : { problem: `must be a whole number from ${least} to ${most}` };
}

function rate(text: string): Parsed<number> {
  if (text === "max") return { value: Infinity };
  const parsed = integer(text, 0, 10_000_000);
  return "value" in parsed ? parsed : { problem: `${parsed.problem}, or max` };
}

function seconds(text: string, least: number, most: number): Parsed<number> {
  const value = Number(text.replace(/s$/, ""));
  return text.trim() !== "" && value >= least && value <= most
    ? { value: 1000 * value }
    : { problem: `must be a number of seconds from ${least} to ${most}` };
}

function duration(text: string, leastMs: number): Parsed<number> {
  const ms = parseDuration(text.trim());
  if (typeof ms === "string") return { problem: 'must be a time such as "7d" or "36h"' };
  return ms >= leastMs ? { value: ms } : { problem: `must be ${showDuration(leastMs)} or more` };
}

const BYTES: Readonly<Record<string, number>> = {
  ...{ "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 },
  ...{ KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30, TIB: 2 ** 40 },
};

function byteCount(text: string, least: number, most: number): Parsed<number> {
  const [, digits, unit = ""] = /^(\d{1,16})\s?([a-z]{0,3})$/i.exec(text.trim()) ?? [];
  const bytes = Number(digits) * (BYTES[unit.toUpperCase()] ?? NaN);
  if (Number.isNaN(bytes)) return { problem: 'must be a size such as "10GiB" or "500MB"' };
  return bytes >= least && bytes <= most
    ? { value: bytes }
    : { problem: `must be from ${least / 2 ** 20}MiB to ${most / 2 ** 40}TiB` };
}

function lakeUrl(text: string): Parsed<string> {
  const shape = "must be file:///folder or s3://bucket/prefix";
  if (text.startsWith("s3://")) {
    return parseS3Url(text) !== null ? { value: text } : {
      problem:
        `${shape}: a bucket's name of small letters, digits, dots and hyphens, then folders of letters, digits and _ - . = @ +`,
    };
  }
  const parsed = URL.parse(text);
  // Two slashes name a host: what was meant as a folder would be one.
  const isFolder = text.startsWith("file:///") && parsed?.search === "" && parsed.hash === "";
  return isFolder && !/%(2f|00)/i.test(text) && isDecodable(text) ? { value: text } : { problem: shape };
}

function isDecodable(text: string): boolean {
  try {
    return decodeURIComponent(text) !== "";
  } catch {
    return false;
  }
}

/** A URL of scheme, host and port. */
function origin(text: string): Parsed<string> {
  const parsed = URL.parse(text.trim());
  const isOrigin = parsed !== null && ["http:", "https:"].includes(parsed.protocol) && parsed.pathname === "/" &&
    parsed.search === "" && parsed.hash === "" && parsed.username === "" && parsed.password === "";
  return isOrigin
    ? { value: parsed.origin }
    : { problem: "must be a URL of scheme, host and port alone, such as https://minio.example:9000" };
}

function regionName(text: string): Parsed<string> {
  return /^[a-z0-9-]{1,64}$/.test(text)
    ? { value: text }
    : { problem: "must be a region's name, such as eu-central-1" };
}

function keyspaceName(text: string): Parsed<string> {
  const problem = cassandraNameFault(text);
  return problem === null ? { value: text } : { problem: "must be 1 to 48 of a-z, 0-9 and _, a letter first" };
}

/** What travels in a header: no spaces, no control characters. */
function headerText(text: string): Parsed<string> {
  return /^[\x21-\x7e]+$/.test(text)
    ? { value: text }
    : { problem: "must be letters, digits and signs without spaces" };
}

function pathStyle(text: string): Parsed<boolean | null> {
  if (text === "auto") return { value: null };
  const parsed = flag(text);
  return "value" in parsed ? parsed : { problem: "must be true, false or auto" };
}
