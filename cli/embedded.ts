import { startBrokerWorker } from "../broker/kafka/mod.ts";
import { startPostgres } from "../broker/postgres.ts";
import { startRegistry } from "../broker/registry/mod.ts";
import { ConfigError } from "../pipeline/errors.ts";
import type { Config } from "./config.ts";
import { collapsed, type Logger } from "./log.ts";

/** Where everything is, embedded or not. */
export interface Addresses {
  readonly brokers: readonly string[];
  readonly registryUrl: string;
  readonly databaseUrl: string;
}

export interface EmbeddedOptions {
  readonly log: Logger;
  /** Parts to be ended again, in the order they were started. */
  readonly parts: AsyncDisposableStack;
  /** Told when an embedded part dies by itself. */
  readonly onFailed: (error: Error) => void;
}

/** Starts the embedded part for every address that the configuration leaves open, all at once. */
export async function startEmbedded(config: Config, { log, parts, onFailed }: EmbeddedOptions): Promise<Addresses> {
  const { host, dataDir, ports } = config;
  const started = await Promise.allSettled([
    config.brokers.length > 0 ? config.brokers : startBroker(config, { log, parts, onFailed }),
    config.registryUrl || startRegistry({
      host,
      port: ports.registry,
      dataDir: `${dataDir}/registry`,
      log: (line) => log.warn(`registry: ${line}`),
    }).then((registry) => parts.use(registry).url),
    config.databaseUrl || startPostgres({
      host,
      port: ports.postgres,
      dataDir: `${dataDir}/postgres`,
      onProgress: (step) => log.info(`PostgreSQL: ${step}`),
    }).then((server) => parts.use(server).url),
  ]);
  const failures = started.flatMap((part) => part.status === "rejected" ? [part.reason] : []);
  const faults = failures.flatMap((error) => error instanceof ConfigError ? error.faults : []);
  const other = failures.find((error) => !(error instanceof ConfigError));
  if (other) throw other;
  if (faults.length > 0) throw new ConfigError(faults);
  const [brokers, registryUrl, databaseUrl] = started.map((part) => (part as PromiseFulfilledResult<unknown>).value);
  return { brokers: brokers as string[], registryUrl: registryUrl as string, databaseUrl: databaseUrl as string };
}

async function startBroker(config: Config, { log, parts, onFailed }: EmbeddedOptions): Promise<string[]> {
  const { host, dataDir, ports: { broker: port } } = config;
  try {
    const broker = parts.use(
      await startBrokerWorker({
        host,
        port,
        dataDir: `${dataDir}/broker`,
        defaultPartitions: config.partitions,
        bufferBytes: config.buffer.bytes,
        whenFull: config.buffer.whenFull,
        log: collapsed((line) => log.info(`broker: ${line}`)),
      }),
    );
    broker.failed.then(onFailed);
    return [`${broker.host}:${broker.port}`];
  } catch (error) {
    // The worker sends words only.
    if (!(error as Error).message.includes(`port ${port} of ${host} is in use`)) throw error;
    throw takenPort("broker", "TAILRACE_BROKER_PORT", port);
  }
}

/** A port that another program listens on. */
export function takenPort(part: string, variable: string, port: number): ConfigError {
  const flag = part === "api" ? "--port" : `--${part}-port`;
  return new ConfigError({
    where: `${flag} (${variable})`,
    problem: `port ${port} is taken by another program (another Tailrace?); choose another, e.g. ${flag} ${port + 10}`,
  });
}
