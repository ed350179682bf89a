/**
 * The settings: each can come from a flag, the environment or a configuration file, in this order of precedence.
 *
 * @module
 */
import { HIDDEN, hideSecret, hideUrlPassword, withoutPassword } from "../api/security/redact.ts";
import type { SettingShown } from "../api/security/security.ts";
import { ConfigError, type Fault } from "../pipeline/errors.ts";
import type { SaslOptions } from "../pipeline/log/sasl.ts";

export { withoutPassword };

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
  /** Threads for reading and folding. */
  readonly workers: number;
  /** Generated transactions per second in dev; Infinity for as fast as it goes, 0 for none. */
  readonly rate: number;
  /** Partitions of the topics that dev creates. */
  readonly partitions: number;
  /** Longest time between two checkpoints of a pipeline. */
  readonly checkpointEveryMs: number;
  /** File of the API's keys. */
  readonly apiKeysFile: string;
  /** Host names the API answers to besides its own, without ports. */
  readonly apiHosts: readonly string[];
}

/** A value as it was given, or the problem with it. */
type Parsed<T> = { readonly value: T } | { readonly problem: string };

interface Setting<T> {
  /** `--flag` on the command line and key in the configuration file. */
  readonly flag: string;
  readonly variable: string;
  readonly fallback: T;
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
    help: "pipelines to run; all in streams/ where none are named",
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
    parse: (text) => seconds(text, 0.1, 3600),
    placeholder: "SECONDS",
    help: "longest time between two checkpoints",
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
  const need = (of: Setting<unknown>, missing: boolean, problem: string) => {
    if (missing) faults.push({ where: names.get(of)!, problem });
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
    workers: get(settings.workers),
    rate: mode === "dev" ? get(settings.rate) : 0,
    partitions: get(settings.partitions),
    checkpointEveryMs: get(settings.checkpointEvery),
    apiKeysFile: get(settings.apiKeys) || `${get(settings.data)}/api-keys.json`,
    apiHosts: get(settings.apiHosts),
  };
  const isFaulty = (of: Setting<unknown>) => faults.some(({ where }) => where === names.get(of));
  if (mode === "run") {
    const hint = "is not set; `dev` would start an embedded one";
    need(settings.brokers, config.brokers.length === 0 && !isFaulty(settings.brokers), hint);
    need(settings.registry, config.registryUrl === "" && !isFaulty(settings.registry), hint);
    need(settings.database, config.databaseUrl === "" && !isFaulty(settings.database), hint);
  }
  need(settings.username, mechanism !== "" && username === "", `is needed with ${names.get(settings.mechanism)}`);
  need(settings.password, mechanism !== "" && password === "", `is needed with ${names.get(settings.mechanism)}`);
  need(settings.mechanism, mechanism === "" && username !== "", `is needed with ${names.get(settings.username)}`);
  const embedded = {
    api: true,
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
export function defaultText({ flag, fallback }: Setting<unknown>): string {
  return flag === "checkpoint-every" ? String(Number(fallback) / 1000) : String(fallback);
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
