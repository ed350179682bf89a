import { hideSecret, hideUrlPassword } from "../api/security/redact.ts";
import { createCassandraReader } from "../api/cassandra_tables.ts";
import type { SettingShown } from "../api/security/security.ts";
import { systemClock } from "../pipeline/clock.ts";
import { createRegistryClient } from "../pipeline/log/registry_client.ts";
import { loadAll } from "../pipeline/plan/load.ts";
import type { Plan } from "../pipeline/plan/plan.ts";
import { postgresClient } from "../pipeline/postgres_client.ts";
import { supervise } from "../pipeline/runtime/supervisor.ts";
import { spillFolder } from "../pipeline/sinks/lake/lake_address.ts";
import { checkStore, openStore } from "../pipeline/sinks/lake/open_store.ts";
import { UnavailableError } from "../pipeline/errors.ts";
import { createSecrets, type Secrets } from "../pipeline/secrets.ts";
import { migrate } from "../pipeline/sinks/migrate.ts";
import { untilAvailable } from "../pipeline/sinks/retry.ts";
import { changePrices } from "../pipeline/sources/products.ts";
import { generateInThread } from "../pipeline/sources/generator_thread.ts";
import { createCassandra } from "./cassandra.ts";
import type { Config } from "./config.ts";
import { connectorsOf } from "./connectors.ts";
import { type Addresses, startEmbedded } from "./embedded.ts";
import { startEngine } from "./engine.ts";
import type { Logger } from "./log.ts";
import { projectPath } from "./paths.ts";
import { preflight } from "./preflight.ts";
import { startScreen } from "./screen.ts";
import { serve } from "./serve.ts";

/** How often a price in the example shop changes. */
const PRICES_PER_SECOND = 2;
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
  const loaded = await loadAll(projectPath("streams"), { only: config.pipelines });
  const plans = loaded.streams.map(({ plan }) => plan);
  await using parts = new AsyncDisposableStack();
  parts.use(await preflight(config));
  await Deno.remove(spillFolder(config.dataDir), { recursive: true }).catch(() => {});
  const failure = new AbortController();
  const onFailed = (error: Error) => {
    log.error(`${error.message}; stopping`);
    failure.abort(error);
  };
  const addresses = await startEmbedded(config, { log, parts, onFailed });
  hideUrlPassword(addresses.databaseUrl);
  const done = new AbortController();
  const until = AbortSignal.any([signal, failure.signal, done.signal]);
  const onWaiting = (reason: string | null) =>
    reason && log.warn(`waiting for PostgreSQL (--database, DATABASE_URL): ${reason}`);
  await untilAvailable(() => applyMigrations(addresses.databaseUrl, log), { signal: until, onWaiting });
  await checkLake(config, { log, signal: until });
  const cassandra = parts.use(createCassandra(config.cassandra, log));
  const connectors = await connectorsOf(loaded, { config, addresses, secrets: ownSecrets(), cassandra, log });
  const engine = parts.use(startEngine({ config, addresses, plans, connectors, cassandra, log, signal: until }));
  // Before it is closed: what runs in it ends by the signal, however this function is left.
  parts.defer(() => done.abort());
  if (engine.summary !== null) {
    console.log(JSON.stringify(await engine.summary, null, 2));
    return await engine.stopped && !failure.signal.aborted;
  }
  const server = parts.use(serve({
    config,
    plans,
    engine,
    cassandra: createCassandraReader(cassandra, { plans, deliveries: loaded.deliveries.map(({ plan }) => plan) }),
    databaseUrl: addresses.databaseUrl,
    log,
    settings,
  }));
  const generated = plans.find(({ topic }) => topic === GENERATED);
  const shop = config.mode === "dev" && config.rate > 0
    ? startShop(addresses.databaseUrl, { log, signal: until })
    : null;
  const generating = config.rate > 0 && generated
    ? startGenerator(generated, { config, addresses, log, signal: until })
    : null;
  const screened = { plans, connectors: connectors.map((unit) => unit.status()) };
  console.log(startScreen(config, screened, { ...addresses, api: server.url }));
  const isWhole = await engine.stopped;
  await generating;
  await shop;
  return isWhole && !failure.signal.aborted;
}

/** Secrets that definitions name, hidden from logs from the moment they are read. */
function ownSecrets(): Secrets {
  return createSecrets({ env: (name) => Deno.env.get(name), onFound: hideAll });
}

function hideAll(secret: string): void {
  hideSecret(secret);
  hideUrlPassword(secret);
}

/** Tells at once what no waiting mends, such as a bucket that is not there. */
async function checkLake(config: Config, { log, signal }: { log: Logger; signal: AbortSignal }): Promise<void> {
  await using store = openStore({ ...config.lake, dataDir: config.dataDir });
  try {
    await checkStore(store, { signal });
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    log.warn(`the lake is away (--lake, TAILRACE_LAKE); what is to be kept in it waits: ${error.message}`);
  }
  await noteAddress(store.url, { folder: config.dataDir, log });
}

/** Says when the lake is another one than at the last start: results that went to that one are not in this. */
async function noteAddress(url: string, { folder, log }: { folder: string; log: Logger }): Promise<void> {
  const file = `${folder}/lake-address`;
  const last = await Deno.readTextFile(file).catch(() => url);
  if (last !== url) {
    log.warn(
      `the lake is ${url} (--lake, TAILRACE_LAKE), and was ${last} at the last start: final results that went there since are ` +
        "not in it. Where the audit misses them, rewind the pipeline",
    );
  }
  await Deno.writeTextFile(file, url);
}

async function applyMigrations(url: string, log: Logger): Promise<void> {
  const sql = postgresClient(url, { connect_timeout: 5, backoff: () => 0 });
  try {
    for (const name of await migrate(sql, projectPath("migrations"))) log.info(`applied migration ${name}`);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Changes prices in the example shop now and then, so that there is something to be seen. */
async function startShop(url: string, { log, signal }: { log: Logger; signal: AbortSignal }): Promise<void> {
  const sql = postgresClient(url, { connect_timeout: 5, backoff: () => 0 });
  try {
    await supervise(
      "shop",
      (until) => changePrices(sql, { rate: PRICES_PER_SECOND, clock: systemClock, signal: until }),
      {
        clock: systemClock,
        signal,
        log: (level, message) => log[level](message),
      },
    );
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
