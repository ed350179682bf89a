/**
 * A Tailrace that runs, what it needs, a producer, and the oracle: what the faults are done to.
 *
 * @module
 */
import { startRegistry } from "../../broker/registry/mod.ts";
import { Child, sleep, Tailrace, temporaryFolder, until } from "../e2e/harness.ts";
import { Proxy } from "../log/proxy.ts";
import { freePort } from "../servers/free_port.ts";
import { type KafkaServer, startKafka } from "../servers/kafka.ts";
import { type OwnPostgres, startTestPostgres } from "../servers/postgres.ts";
import { Acknowledged } from "./acknowledged.ts";
import { PLAIN, type Rules } from "./expected.ts";
import type { Findings } from "./findings.ts";
import { Load } from "./load.ts";
import { Oracle } from "./oracle.ts";
import { layOut } from "./project.ts";
import { plainRecipe, type Recipe, startOfRun, TRANSACTION_TEXT } from "./records.ts";

export const TOPIC = "faults";
/** Another loopback address, where the proxy listens at the broker's port. */
const PROXY_HOST = "127.0.0.2";
/** After a fault is over, everything must be read again within this. */
const RECOVER_WITHIN_MS = 240_000;
/** A pipeline that has failed for so long is not started again by its supervisor. */
const GIVEN_UP_MS = 12_000;
const RATE = 400;

/** Where a part runs: in the Tailrace process, in a process of its own, or as Apache Kafka. */
export interface WorldOptions {
  readonly seed: number;
  /** Another checkout whose Tailrace is to be tested. */
  readonly project?: string;
  readonly broker?: "inside" | "apart" | "apache";
  readonly postgres?: "inside" | "apart";
  readonly registry?: "inside" | "apart";
  /** The first one is what recovery is measured by. */
  readonly rules?: readonly Rules[];
  readonly recipe?: (world: { readonly schemaId: number; readonly registryUrl: string }) => Recipe | Promise<Recipe>;
  readonly rate?: number;
  readonly checkpointSeconds?: number;
  /** Instead of a new one: the data folder of the Tailrace process. */
  readonly dataDir?: string;
  /** Instead of a new folder: where the lake is. */
  readonly lake?: LakeAt;
  /** What the process is told instead of the true addresses, such as a proxy's. */
  readonly through?: (addresses: Addresses) => Partial<Addresses>;
  /** All clients of the embedded broker that runs apart come through `World.brokerProxy`. */
  readonly brokerBehindProxy?: boolean;
}

/** A lake, as the process is told of it and as it can be looked at. */
export interface LakeAt {
  /** Settings in the process's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** The folder that the tables are in. */
  readonly folder: string;
}

/** A lake in a folder. */
export function lakeIn(folder: string): LakeAt {
  return { env: { TAILRACE_LAKE: `file://${folder}` }, folder };
}

/** Empty: inside. */
export interface Addresses {
  readonly brokers: string;
  readonly registryUrl: string;
  readonly databaseUrl: string;
}

/** How a Tailrace process is started beside the first. */
export interface StartOptions {
  readonly dataDir?: string;
  /** Puts words in front, such as strace and its options. */
  readonly wrap?: (command: readonly string[]) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A broker in its own process, at the same port and with the same folder each time. */
export class BrokerApart implements AsyncDisposable {
  readonly folder: string;
  readonly port: number;
  readonly #advertisedHost: string;
  #child: Child | null = null;

  /** `advertisedHost` is where clients are told to come, at the same port. */
  constructor(folder: string, port: number, { advertisedHost = "127.0.0.1" } = {}) {
    this.folder = folder;
    this.port = port;
    this.#advertisedHost = advertisedHost;
  }

  /** What it said. */
  get said(): string {
    return (this.#child?.stdout ?? "") + (this.#child?.stderr ?? "");
  }

  async up(): Promise<void> {
    const script = new URL("../e2e/broker_child.ts", import.meta.url).pathname;
    const args = [this.folder, String(this.port), this.#advertisedHost];
    const child = this.#child = new Child([Deno.execPath(), "run", "-A", script, ...args]);
    await until("the broker listens", () => {
      if (child.hasEnded) throw new Error(`The broker ended: ${this.said}`);
      return child.stdout.includes("listening");
    });
  }

  /** SIGKILL; the data stays. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    await child?.[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

export class World implements AsyncDisposable {
  readonly options: WorldOptions;
  readonly folder: string;
  readonly dataDir: string;
  /** The same for all processes, whatever their data folder. */
  readonly lake: LakeAt;
  /** Where the parts listen; empty for those inside until the process is up. */
  addresses: Addresses;
  readonly told: Addresses;
  readonly broker: BrokerApart | null;
  readonly brokerProxy: Proxy | null;
  readonly apache: KafkaServer | null;
  readonly postgres: OwnPostgres | null;
  tailrace: Tailrace | null = null;
  load!: Load;
  oracle!: Oracle;
  schemaId = 0;
  readonly rules: readonly Rules[];
  readonly #parts: AsyncDisposableStack;
  readonly #main: string;
  readonly #ports: readonly string[];

  private constructor(options: WorldOptions, of: {
    readonly parts: AsyncDisposableStack;
    readonly folder: string;
    readonly main: string;
    readonly broker: BrokerApart | null;
    readonly brokerProxy: Proxy | null;
    readonly apache: KafkaServer | null;
    readonly postgres: OwnPostgres | null;
    readonly addresses: Addresses;
  }) {
    this.options = options;
    this.#parts = of.parts;
    this.#main = of.main;
    this.folder = of.folder;
    this.dataDir = options.dataDir ?? `${of.folder}/data`;
    this.lake = options.lake ?? lakeIn(`${of.folder}/lake`);
    this.broker = of.broker;
    this.brokerProxy = of.brokerProxy;
    this.apache = of.apache;
    this.postgres = of.postgres;
    this.addresses = of.addresses;
    this.told = { ...of.addresses, ...options.through?.(of.addresses) };
    this.rules = options.rules ?? [PLAIN];
    // The same at each start, so that clients find it again.
    const fixed = ["broker", "registry"].flatMap((part) => [`--${part}-port`, String(freePort())]);
    this.#ports = ["--port", "0", "--postgres-port", "0", ...fixed];
  }

  /** Starts the servers, Tailrace, the load and the oracle. */
  static async open(options: WorldOptions): Promise<World> {
    const parts = new AsyncDisposableStack();
    try {
      const folder = parts.use(temporaryFolder()).path;
      const main = await layOut(`${folder}/project`, { source: options.project });
      const { broker: brokerIs = "inside", postgres: postgresIs = "inside" } = options;
      const registryIs = options.registry ?? (brokerIs === "inside" ? "inside" : "apart");
      const advertisedHost = options.brokerBehindProxy ? PROXY_HOST : "127.0.0.1";
      const broker = brokerIs === "apart"
        ? parts.use(new BrokerApart(`${folder}/broker`, freePort(), { advertisedHost }))
        : null;
      await broker?.up();
      const brokerProxy = broker && options.brokerBehindProxy
        ? parts.use(
          new Proxy({ hostname: PROXY_HOST, port: broker.port }, { hostname: "127.0.0.1", port: broker.port }),
        )
        : null;
      const apache = brokerIs === "apache" ? parts.use(await startKafka({ heap: "512m" })) : null;
      const registry = registryIs === "apart"
        ? parts.use(await startRegistry({ host: "127.0.0.1", port: 0, dataDir: `${folder}/registry` }))
        : null;
      const postgres = postgresIs === "apart" ? parts.use(await startTestPostgres()) : null;
      const databaseUrl = await postgres?.database() ?? "";
      const brokers = apache ? apache.brokers.join(",") : broker ? `${advertisedHost}:${broker.port}` : "";
      const addresses = { brokers, registryUrl: registry?.url ?? "", databaseUrl };
      const world = new World(options, { parts, folder, main, broker, brokerProxy, apache, postgres, addresses });
      await world.start();
      await world.#prepare();
      return world;
    } catch (error) {
      await parts.disposeAsync();
      throw error;
    }
  }

  get pipeline(): string {
    return this.rules[0].pipeline;
  }

  /** Starts the Tailrace process. */
  async start(options: StartOptions = {}): Promise<Tailrace> {
    const tailrace = this.tailrace = await this.startAnother(options);
    const { brokers, registryUrl, databaseUrl } = this.told;
    this.addresses = {
      brokers: brokers === "" ? tailrace.brokers : this.addresses.brokers,
      registryUrl: registryUrl === "" ? tailrace.registryUrl : this.addresses.registryUrl,
      databaseUrl: databaseUrl === "" ? tailrace.databaseUrl : this.addresses.databaseUrl,
    };
    return tailrace;
  }

  /** A Tailrace process on the same brokers, registry and database as are not inside the first. */
  async startAnother(options: StartOptions = {}): Promise<Tailrace> {
    const { databaseUrl } = this.told;
    const { args, env, command } = this.#commandLine(options);
    return await Tailrace.start(args, { env, command, ...(databaseUrl === "" ? {} : { databaseUrl }) });
  }

  /** Begins a start and does not wait for it. */
  spawn(options: StartOptions = {}): Child {
    const { args, env, command } = this.#commandLine(options);
    return new Child(command(args), { env });
  }

  /** Kills the process as kill -9 does. */
  async kill(): Promise<void> {
    await this.tailrace!.kill();
    await this.forget();
  }

  /** Ctrl-C. @throws when it does not end with the code expected, 0 unless told */
  async stop(expected: { readonly code: number } = { code: 0 }): Promise<void> {
    const { code, stderr } = await this.tailrace!.stop();
    await this.forget();
    if (code !== expected.code) throw new Error(`Ctrl-C ended it with code ${code}: ${stderr.slice(-2_000)}`);
  }

  /** Lets go of a process that has ended. */
  async forget(): Promise<void> {
    await this.tailrace?.child[Symbol.asyncDispose]();
    this.tailrace = null;
  }

  /**
   * Waits until all pipelines run, have read what was acknowledged by now, and have written what follows from it.
   *
   * @returns how long that took, milliseconds
   */
  async recovered({ withinMs = RECOVER_WITHIN_MS } = {}): Promise<number> {
    const began = performance.now();
    const ends = new Map(this.load.ends);
    for (const { pipeline } of this.rules) {
      let readIn: number | null = null;
      let failedAt: number | null = null;
      await this.tailrace!.until(`${pipeline} has read on`, async () => {
        const { state, partitions, epoch } = await this.tailrace!.status(pipeline);
        failedAt = state === "failed" ? failedAt ?? performance.now() : null;
        if (failedAt !== null && performance.now() - failedAt > GIVEN_UP_MS) {
          throw new Error(`${pipeline} was given up`);
        }
        const positions = new Map(partitions.map(({ partition, position }) => [partition, position]));
        const isRead = [...ends].every(([partition, end]) => (positions.get(partition) ?? -1) >= end);
        if (state !== "running" || !isRead) return false;
        // What was read is written in the epoch after, at the latest: once that is over, so is the writing.
        readIn ??= epoch;
        return epoch > readIn + 1;
      }, withinMs);
    }
    return performance.now() - began;
  }

  /** Lets the load rest, and compares everything. */
  async check(options: { readonly patienceMs?: number } = {}): Promise<Findings> {
    await this.load.pause();
    await this.recovered();
    const { tailrace } = this;
    const asked = {
      ...this.addresses,
      lake: this.lake.folder,
      status: (pipeline: string) => tailrace!.status(pipeline),
    };
    const findings = await this.oracle.check(asked, this.load.recipe, options);
    this.load.resume();
    return findings;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.load?.[Symbol.asyncDispose]();
    await this.oracle?.[Symbol.asyncDispose]();
    await this.tailrace?.[Symbol.asyncDispose]();
    await this.#parts.disposeAsync();
  }

  #commandLine({ dataDir = this.dataDir, wrap = (words) => words, env }: StartOptions) {
    const { brokers, registryUrl, databaseUrl } = this.told;
    return {
      args: [
        "dev",
        ...["--data", dataDir, "--rate", "0", "--workers", "1", "--partitions", "4"],
        ...["--pipelines", this.rules.map(({ pipeline }) => pipeline).join(",")],
        ...["--checkpoint-every", String(this.options.checkpointSeconds ?? 0.5)],
        ...this.#ports,
        ...(brokers === "" ? [] : ["--brokers", brokers]),
        ...(registryUrl === "" ? [] : ["--registry", registryUrl]),
      ],
      env: {
        ...this.lake.env,
        ...env,
        ...(databaseUrl === "" ? {} : { DATABASE_URL: databaseUrl }),
        DENO_NO_UPDATE_CHECK: "1",
      },
      command: (words: readonly string[]) => wrap([Deno.execPath(), "run", "-A", this.#main, ...words]),
    };
  }

  /** Registers the schema and starts load and oracle. */
  async #prepare(): Promise<void> {
    const { folder, options } = this;
    const { registryUrl, brokers } = this.addresses;
    this.schemaId = await register(registryUrl, `${TOPIC}-value`, TRANSACTION_TEXT);
    const makeRecipe = options.recipe ?? (({ schemaId }) => plainRecipe(options.seed, schemaId, startOfRun()));
    const recipe = await makeRecipe({ schemaId: this.schemaId, registryUrl });
    const acknowledged = this.#parts.use(new Acknowledged(`${folder}/acknowledged.ndjson`));
    await until("the pipelines run", async () => {
      const all = await Promise.all(this.rules.map(({ pipeline }) => this.tailrace!.status(pipeline)));
      return all.every(({ state }) => state === "running");
    }, 60_000);
    this.oracle = await Oracle.open({ folder, topic: TOPIC, brokers, rules: this.rules, acknowledged });
    this.load = new Load({ brokers, topic: TOPIC, recipe, acknowledged, rate: options.rate ?? RATE });
    this.load.resume();
    await until("the first records are acknowledged", () => acknowledged.count > 0);
    await sleep(200);
  }
}

/** Copies what a data folder has saved of its pipelines: checkpoints, and rows that the lake's tables do not have yet. */
export async function copyCheckpoints(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  const saved = ["checkpoints", "journals"].map((name) => `${from}/${name}`);
  const copy = await new Deno.Command("cp", { args: ["-r", ...saved, to] }).output();
  if (!copy.success) throw new Error(`Cannot copy ${saved}: ${new TextDecoder().decode(copy.stderr)}`);
}

/** Registers a schema and returns its id. */
export async function register(registryUrl: string, subject: string, schema: string): Promise<number> {
  const response = await fetch(`${registryUrl}/subjects/${subject}/versions`, {
    method: "POST",
    headers: { "content-type": "application/vnd.schemaregistry.v1+json" },
    body: JSON.stringify({ schema }),
  });
  if (!response.ok) throw new Error(`The registry refused ${subject}: ${response.status} ${await response.text()}`);
  return (await response.json()).id;
}
