import { startBrokerWorker } from "../broker/kafka/mod.ts";
import { startPostgres } from "../broker/postgres.ts";
import { startRegistry } from "../broker/registry/mod.ts";
import type { Config } from "../pipeline/config.ts";
import { ConfigError } from "../pipeline/errors.ts";
import type { Logger } from "./log.ts";

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
    config.brokers.length > 0 ? config.brokers : portTaken("broker", "TAILRACE_BROKER_PORT", ports.broker, async () => {
      const broker = parts.use(
        await startBrokerWorker({
          host,
          port: ports.broker,
          dataDir: `${dataDir}/broker`,
          defaultPartitions: config.partitions,
          log: (line) => log.info(`broker: ${line}`),
        }),
      );
      broker.failed.then(onFailed);
      return [`${broker.host}:${broker.port}`];
    }),
    config.registryUrl || portTaken("registry", "TAILRACE_REGISTRY_PORT", ports.registry, async () => {
      const options = {
        host,
        port: ports.registry,
        dataDir: `${dataDir}/registry`,
        log: (line: string) => log.warn(`registry: ${line}`),
      };
      return parts.use(await startRegistry(options)).url;
    }),
    config.databaseUrl || portTaken("postgres", "TAILRACE_POSTGRES_PORT", ports.postgres, async () => {
      const onProgress = (step: string) => log.info(`PostgreSQL: ${step}`);
      return parts.use(await startPostgres({ host, port: ports.postgres, dataDir: `${dataDir}/postgres`, onProgress }))
        .url;
    }),
  ]);
  const failures = started.flatMap((part) => part.status === "rejected" ? [part.reason] : []);
  const faults = failures.flatMap((error) => error instanceof ConfigError ? error.faults : []);
  const other = failures.find((error) => !(error instanceof ConfigError));
  if (other) throw other;
  if (faults.length > 0) throw new ConfigError(faults);
  const [brokers, registryUrl, databaseUrl] = started.map((part) => (part as PromiseFulfilledResult<unknown>).value);
  return { brokers: brokers as string[], registryUrl: registryUrl as string, databaseUrl: databaseUrl as string };
}

/** Names the setting when the part's port is in use. */
async function portTaken<T>(part: string, variable: string, port: number, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (!/AddrInUse|in use|taken/i.test(`${(error as Error).name} ${(error as Error).message}`)) throw error;
    throw takenPort(part, variable, port);
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
