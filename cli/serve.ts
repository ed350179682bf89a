import { createApp } from "../api/app.ts";
import type { AppDeps } from "../api/deps.ts";
import { createAssets } from "../api/assets.ts";
import { LOOPBACK_HOSTS } from "../api/guards.ts";
import { createLiveHub } from "../api/live.ts";
import { createMetrics } from "../api/metrics.ts";
import { Statements } from "../api/postgres_statements.ts";
import { createResultReader, storedPipeline } from "../api/results_postgres.ts";
import { AuditFile } from "../api/security/audit_file.ts";
import { createQueryStore } from "../api/sql/query_store.ts";
import { createSqlService } from "../api/sql/sql_service.ts";
import { KeyFile } from "../api/security/key_file.ts";
import type { SettingShown } from "../api/security/security.ts";
import { isLoopback, urlHost } from "../broker/host.ts";
import { systemClock } from "../pipeline/clock.ts";
import type { Plan } from "../pipeline/plan/plan.ts";
import { postgresClient } from "../pipeline/postgres_client.ts";
import type { Config } from "./config.ts";
import { takenPort } from "./embedded.ts";
import type { Engine } from "./engine.ts";
import type { Logger } from "./log.ts";
import { VERSION } from "./version.ts";

/** Requests still under way this long after a stop are cut off. */
const SHUTDOWN_MS = 1_500;

export interface ServeOptions {
  readonly config: Config;
  readonly plans: readonly Plan[];
  readonly engine: Engine;
  /** Null where no definition names a table of it. */
  readonly cassandra: AppDeps["cassandra"] | null;
  readonly databaseUrl: string;
  readonly log: Logger;
  /** Every setting, for `/v1/config`. */
  readonly settings: readonly SettingShown[];
}

/** Serves the API and the dashboard. @throws ConfigError when the port is taken */
export function serve(
  { config, plans, engine, cassandra, databaseUrl, log, settings }: ServeOptions,
): AsyncDisposable & { readonly url: string } {
  const statements = new Statements(() =>
    postgresClient(databaseUrl, { max: 4, connect_timeout: 5, backoff: () => 0 })
  );
  const stored = plans.map(storedPipeline);
  const hub = createLiveHub({}, systemClock);
  const metrics = createMetrics(engine.status, {
    live: () => hub.stats(),
    audit: engine.lake.auditors,
    lake: engine.lake.desk,
    connectors: engine.connectors.status,
    bulk: () => engine.bulk.figures(),
    version: VERSION,
  });
  const questions = createSqlService({
    catalog: engine.lake.catalog,
    clock: systemClock,
    log: (message) => log.warn(message),
  });
  const host = urlHost(config.host);
  const app = createApp({
    pipelines: stored,
    results: createResultReader(statements, stored),
    engine: {
      status: engine.status,
      live: engine.live,
      ingest: engine.ingest,
      control: engine.control,
      metrics: () => metrics.text(),
    },
    bulk: engine.bulk,
    connectors: engine.connectors,
    cassandra: cassandra ?? undefined,
    letters: engine.letters,
    lake: engine.lake.desk,
    backfill: engine.lake.backfills,
    preview: engine.lake.previews,
    exports: engine.lake.exports,
    sql: questions,
    queries: createQueryStore(`${config.dataDir}/queries.json`),
    audit: engine.lake.auditors,
    ready: engine.ready,
    asset: createAssets(),
    log: (message, error) => log.error(message, { error: error instanceof Error ? error.message : String(error) }),
    version: VERSION,
  }, {
    hub,
    hosts: isLoopback(config.host) || config.apiHosts.length > 0 ? [...LOOPBACK_HOSTS, host, ...config.apiHosts] : null,
    security: {
      keys: new KeyFile(config.apiKeysFile),
      audit: new AuditFile(`${config.dataDir}/audit.log`, { onFailure: (message) => log.error(message) }),
      settings: () => settings,
    },
  });
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({ hostname: config.host, port: config.ports.api, onListen: () => {} }, app.fetch);
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) throw takenPort("api", "TAILRACE_PORT", config.ports.api);
    throw error;
  }
  return {
    url: `http://${host}:${server.addr.port}`,
    async [Symbol.asyncDispose]() {
      hub.close();
      await questions[Symbol.asyncDispose]();
      const cut = new Promise((resolve) => setTimeout(resolve, SHUTDOWN_MS));
      await Promise.race([server.shutdown(), cut]);
      await statements[Symbol.asyncDispose]();
    },
  };
}
