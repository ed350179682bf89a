/**
 * The process's connection to Cassandra, from its settings.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { ConfigError } from "../pipeline/errors.ts";
import { CassandraSession } from "../pipeline/sinks/cassandra/session.ts";
import type { CassandraConfig } from "./config.ts";
import type { Logger } from "./log.ts";

const MIGRATIONS = fileURLToPath(new URL("../migrations/cassandra", import.meta.url));

/**
 * Connects nothing yet: what goes to Cassandra does when it starts, and rests where there is none.
 *
 * @throws ConfigError when the file of authorities' certificates cannot be read
 */
export function createCassandra(config: CassandraConfig | null, log: Logger): CassandraSession {
  const options = config && { ...config, tls: config.tls && { authorities: certificates(config.tls.authoritiesFile) } };
  return new CassandraSession({
    options,
    migrations: MIGRATIONS,
    log: (level, message) => log[level](message),
  });
}

function certificates(file: string): string | null {
  if (file === "") return null;
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    throw new ConfigError({
      where: "TAILRACE_CASSANDRA_CA",
      problem: `cannot be read: ${(error as Error).message}`,
    });
  }
}
