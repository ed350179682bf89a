import { readPostmaster } from "../../../broker/postgres_postmaster.ts";
import type { ConnectorStatus } from "../../../pipeline/runtime/connector_status.ts";
import { Child, descendantsOf, sleep, temporaryFolder, until } from "../../e2e/harness.ts";
import { freePort } from "../../servers/free_port.ts";
import { compare } from "../connectors/compare.ts";
import { Others } from "../connectors/others.ts";
import { type FaultRun, type Kind, NotExactError } from "../kind.ts";
import { layOut } from "../project.ts";

const STREAMS = new URL("../connectors/streams/", import.meta.url);
const UP_WITHIN_MS = 180_000;
const STOP_WITHIN_MS = 90_000;
/** The longest pauses that outages leave behind are shorter. */
const QUIET_WITHIN_MS = 240_000;
const QUIET_FOR_MS = 1_500;
/** All of them come in a short run already. */
const FAULTS = ["kill", "api", "stop", "receiver", "postgres", "kill", "feed", "freeze"] as const;
/** What is down is started by hand where it gave up before there was a table. */
const NEED_TABLE = ["items", "items_raw"];

/** Sources and deliveries of all kinds in one process, while it and everything around it fails in turn; then all is compared. */
export const connectors: Kind = {
  name: "connectors",
  what: "sources and deliveries at once: kill -9, Ctrl-C, outages of API, feed, PostgreSQL and receiver",
  counts: { full: 200, short: 8 },
  async run(run) {
    await using folder = temporaryFolder();
    const incoming = `${folder.path}/incoming`;
    await Deno.mkdir(incoming);
    const main = await layOut(`${folder.path}/project`, { source: run.project, streams: STREAMS });
    await using process = new Process(main, `${folder.path}/data`);
    await using others = new Others({ seed: run.seed, folder: incoming, databaseUrl: process.databaseUrl });
    process.env = others.env;
    process.start();
    await process.up();
    await others.makeTable();
    await process.startAgain(NEED_TABLE);
    others.begin();
    const outages: Promise<void>[] = [];
    const away = async (side: { stop(): Promise<void>; start(): void }, ms: number) => {
      await side.stop();
      await sleep(ms);
      side.start();
    };
    for (let turns: string[] = []; run.injected < run.count;) {
      await sleep(run.between(200, run.short ? 2_000 : 4_000));
      if (turns.length === 0) turns = shuffled(run, FAULTS);
      const fault = turns.pop()!;
      const ms = run.between(300, run.short ? 1_500 : 6_000);
      if (process.hasEnded) throw new NotExactError(`the process ended by itself: ${process.said}`);
      if (fault === "kill") await process.kill();
      else if (fault === "stop") await process.stop();
      else if (fault === "postgres") await process.killPostgres(run);
      else if (fault === "freeze") await process.freezePostgres(ms);
      // Goes on while others fail; two of the same wait for each other.
      else {
        const side = { api: others.api, feed: others.feed, receiver: others.receiver }[fault]!;
        const outage = (outages.at(-1) ?? Promise.resolve()).then(() => away(side, ms));
        outage.catch(() => {});
        outages.push(outage);
      }
      run.inject();
      run.recoveredIn(0);
      if (process.hasEnded) process.start();
    }
    await Promise.all(outages);
    const began = performance.now();
    await process.up();
    await others.end();
    let compared = null;
    for (const end = performance.now() + QUIET_WITHIN_MS;;) {
      const counts = await process.quiet({ end, onWaiting: (why) => run.tell(`coming to rest: ${why}`) });
      compared = await compare(others, { brokers: process.brokers, dataDir: process.dataDir, counts });
      // On a busy machine a last commit may come after the counts were asked for; what is really wrong stays wrong.
      if (compared.findings.total === 0 || performance.now() > end) break;
      await sleep(500);
    }
    run.recovered--;
    run.recoveredIn(performance.now() - began);
    run.records += compared.records;
    run.findings.add(compared.findings);
    run.remarks.push(`${others.receiver.requests.length} posts, ${others.api.asked.length} requests to the API`);
    run.remarks.push(compared.told);
    if (run.findings.total > 0) throw new NotExactError("topics and destinations are not what the other sides had");
  },
};

function shuffled(run: FaultRun, list: readonly string[]): string[] {
  return list.map((one) => ({ one, at: run.random() })).sort((a, b) => a.at - b.at).map(({ one }) => one);
}

/** A Tailrace at the same ports each time, all of it inside. */
class Process implements AsyncDisposable {
  readonly dataDir: string;
  env: Readonly<Record<string, string>> = {};
  readonly #main: string;
  readonly #password = crypto.getRandomValues(new Uint8Array(24)).toHex();
  readonly #ports = { api: freePort(), broker: freePort(), registry: freePort(), postgres: freePort() };
  #child: Child | null = null;

  constructor(main: string, dataDir: string) {
    this.#main = main;
    this.dataDir = dataDir;
    // As the embedded PostgreSQL keeps it: known before the first start this way.
    Deno.mkdirSync(`${dataDir}/postgres`, { recursive: true });
    Deno.writeTextFileSync(`${dataDir}/postgres/password`, this.#password, { mode: 0o600 });
  }

  get brokers(): string {
    return `127.0.0.1:${this.#ports.broker}`;
  }

  get databaseUrl(): string {
    return `postgres://tailrace:${this.#password}@127.0.0.1:${this.#ports.postgres}/tailrace`;
  }

  get hasEnded(): boolean {
    return this.#child?.hasEnded ?? true;
  }

  /** The end of its log. */
  get said(): string {
    return this.#child?.stderr.slice(-3_000) ?? "";
  }

  start(): void {
    const ports = Object.entries(this.#ports).flatMap(([part, port]) => [
      part === "api" ? "--port" : `--${part}-port`,
      String(port),
    ]);
    const args = [this.#main, "dev", "--data", this.dataDir, "--rate", "0", "--workers", "1", ...ports];
    this.#child = new Child([Deno.execPath(), "run", "-A", ...args], { env: this.env });
  }

  /** Waits until it answers. */
  async up(): Promise<void> {
    await until("its API answers", async () => {
      if (this.hasEnded) throw new Error(`It ended: ${this.said}`);
      return await this.#statuses() !== null;
    }, UP_WITHIN_MS);
  }

  /** Starts what gave up before there was a table. */
  async startAgain(names: readonly string[]): Promise<void> {
    await until(`${names.join(" and ")} run`, async () => {
      const statuses = await this.#statuses() ?? [];
      const failed = statuses.filter(({ name, state }) => names.includes(name) && state === "failed");
      for (const { name } of failed) {
        const response = await fetch(`${this.#api}/${name}/start`, { method: "POST" });
        await response.body?.cancel();
      }
      return statuses.every(({ state, name }) => !names.includes(name) || state === "running");
    }, UP_WITHIN_MS);
  }

  async kill(): Promise<void> {
    this.#child!.kill("SIGKILL");
    await this.#end();
  }

  /** Ctrl-C, once it is up. @throws NotExactError when that is not the end it should be */
  async stop(): Promise<void> {
    await this.up();
    this.#child!.kill("SIGINT");
    const { code, stderr } = await this.#child!.exited(STOP_WITHIN_MS);
    if (code !== 0) throw new NotExactError(`Ctrl-C ended it with code ${code}: ${stderr.slice(-3_000)}`);
    await this.#end();
  }

  /** SIGKILL of the server, or of one of its processes, upon which it throws out all clients. */
  async killPostgres(run: FaultRun): Promise<void> {
    await this.up();
    const pid = await this.#postgres();
    const clients = descendantsOf(pid);
    signal(run.random() < 0.5 || clients.length === 0 ? pid : run.pick(clients), "SIGKILL");
  }

  /** PostgreSQL answers nothing for a while, and its connections stay open. */
  async freezePostgres(ms: number): Promise<void> {
    await this.up();
    const pid = await this.#postgres();
    const all = [pid, ...descendantsOf(pid)];
    for (const one of all) signal(one, "SIGSTOP");
    await sleep(ms);
    for (const one of all) signal(one, "SIGCONT");
  }

  /** Waits until all run, have nothing before them, and write nothing any more; or throws after `end`. What they have counted. */
  async quiet(
    { end, onWaiting }: { readonly end: number; readonly onWaiting: (why: string) => void },
  ): Promise<Map<string, ConnectorStatus["counts"]>> {
    let last = "";
    let since = performance.now();
    for (;;) {
      if (this.hasEnded) throw new NotExactError(`the process ended by itself: ${this.said}`);
      const statuses = await this.#statuses() ?? [];
      const isIdle = statuses.length > 0 &&
        statuses.every(({ state, kind, lagRecords }) => state === "running" && (kind === "source" || lagRecords === 0));
      const now = JSON.stringify(statuses.map(({ name, counts }) => [name, counts.written, counts.rejected]));
      if (!isIdle || now !== last) {
        since = performance.now();
        const busy = statuses.find(({ state, lagRecords }) => state !== "running" || (lagRecords ?? 0) > 0);
        onWaiting(busy ? `${busy.name} ${busy.state}: ${busy.reason ?? busy.lagRecords}` : "counts change");
      }
      last = now;
      const counts = new Map(statuses.map(({ name, counts }) => [name, counts]));
      if (performance.now() - since > QUIET_FOR_MS) return counts;
      if (performance.now() > end) {
        const told = statuses.map(({ name, state, reason, lagRecords }) => `${name} ${state} ${reason} ${lagRecords}`);
        throw new NotExactError(`it did not come to rest: ${told.join("; ")}\n${this.said}`);
      }
      await sleep(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) {
      this.#child!.kill("SIGINT");
      await this.#child!.exited(STOP_WITHIN_MS).catch(() => {});
    }
    await this.#child?.[Symbol.asyncDispose]();
  }

  get #api(): string {
    return `http://127.0.0.1:${this.#ports.api}/v1/connectors`;
  }

  /** Null while nobody answers. */
  async #statuses(): Promise<ConnectorStatus[] | null> {
    try {
      const response = await fetch(this.#api, { signal: AbortSignal.timeout(5_000) });
      return (await response.json()).connectors;
    } catch {
      return null;
    }
  }

  /** The server's process; it is started again after a fault before. */
  async #postgres(): Promise<number> {
    return await until("PostgreSQL runs", async () => {
      return (await readPostmaster(`${this.dataDir}/postgres/cluster`))?.pid;
    }, UP_WITHIN_MS);
  }

  async #end(): Promise<void> {
    await this.#child!.exited();
    await this.#child![Symbol.asyncDispose]();
    this.#child = null;
  }
}

function signal(pid: number, name: Deno.Signal): void {
  try {
    Deno.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}
