import postgres from "postgres";
import { hideUrlPassword } from "../api/security/redact.ts";
import type { SettingShown } from "../api/security/security.ts";
import { systemClock } from "../pipeline/clock.ts";
import { createRegistryClient } from "../pipeline/log/registry_client.ts";
import { loadStreams } from "../pipeline/plan/load.ts";
import type { Plan } from "../pipeline/plan/plan.ts";
import { supervise } from "../pipeline/runtime/supervisor.ts";
import { migrate } from "../pipeline/sinks/migrate.ts";
import { untilAvailable } from "../pipeline/sinks/retry.ts";
import { generateInThread } from "../pipeline/sources/generator_thread.ts";
import type { Config } from "./config.ts";
import { type Addresses, startEmbedded } from "./embedded.ts";
import { startEngine } from "./engine.ts";
import type { Logger } from "./log.ts";
import { projectPath } from "./paths.ts";
import { preflight } from "./preflight.ts";
import { startScreen } from "./screen.ts";
import { serve } from "./serve.ts";

/** The topic that the generator feeds. */
const GENERATED = "transactions";
/** How much past the generator makes up at the first start, so that closed windows are there to be seen at once. */
const HISTORY_MS = 150_000;

/**
 * Runs pipelines, API and what is embedded until the signal.
 *
 * @returns false when a pipeline was given up, or an embedded part died
 * @throws ConfigError with all that has to be mended first
 */
export async function start(
  config: Config,
  { log, signal, settings }: {
    readonly log: Logger;
    readonly signal: AbortSignal;
    readonly settings: readonly SettingShown[];
  },
): Promise<boolean> {
  const plans = (await loadStreams(projectPath("streams"), { only: config.pipelines })).map(({ plan }) => plan);
  await using parts = new AsyncDisposableStack();
  parts.use(await preflight(config));
  const failure = new AbortController();
  const onFailed = (error: Error) => {
    log.error(`${error.message}; stopping`);
    failure.abort(error);
  };
  const addresses = await startEmbedded(config, { log, parts, onFailed });
  hideUrlPassword(addresses.databaseUrl);
  const until = AbortSignal.any([signal, failure.signal]);
  const onWaiting = (reason: string | null) =>
    reason && log.warn(`waiting for PostgreSQL (--database, DATABASE_URL): ${reason}`);
  await untilAvailable(() => applyMigrations(addresses.databaseUrl, log), { signal: until, onWaiting });
  const engine = parts.use(startEngine({ config, addresses, plans, log, signal: until }));
  const server = parts.use(serve({ config, plans, engine, databaseUrl: addresses.databaseUrl, log, settings }));
  const generated = plans.find(({ topic }) => topic === GENERATED);
  const generating = config.rate > 0 && generated
    ? startGenerator(generated, { config, addresses, log, signal: until })
    : null;
  console.log(startScreen(config, plans, { ...addresses, api: server.url }));
  const isWhole = await engine.stopped;
  await generating;
  return isWhole && !failure.signal.aborted;
}

async function applyMigrations(url: string, log: Logger): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => {}, backoff: () => 0 });
  try {
    for (const name of await migrate(sql, projectPath("migrations"))) log.info(`applied migration ${name}`);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function startGenerator(
  plan: Plan,
  { config, addresses, log, signal }: { config: Config; addresses: Addresses; log: Logger; signal: AbortSignal },
): Promise<void> {
  // The first start tells a past; a later one goes on from now.
  const marker = `${config.dataDir}/generator-started`;
  let historyMs = await Deno.stat(marker).then(() => 0, () => HISTORY_MS);
  const registry = createRegistryClient({ url: addresses.registryUrl });
  await supervise("generator", async (until) => {
    const schemaId = await registry.register(`${plan.topic}-value`, plan.schema);
    await generateInThread({
      topic: plan.topic,
      schemaId,
      rate: config.rate,
      historyMs,
      seed: systemClock.now(),
      brokers: addresses.brokers,
      cluster: { clientId: "tailrace-generator", ...config.kafka },
    }, {
      signal: until,
      onProgress: (acknowledged) => {
        if (acknowledged === 0 || historyMs === 0) return;
        historyMs = 0;
        Deno.writeTextFile(marker, "").catch((error) =>
          log.warn(`${marker} cannot be written, so the next start makes a past up again: ${error.message}`)
        );
      },
    });
  }, { clock: systemClock, signal, log: (level, message) => log[level](message) });
}
