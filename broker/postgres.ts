/**
 * A real PostgreSQL 18 on loopback, kept in a folder between runs.
 *
 * @module
 */
import { join } from "node:path";
import { ConfigError, UnavailableError } from "../pipeline/errors.ts";
import { takeLock } from "../pipeline/file_lock.ts";
import { postgresClient } from "../pipeline/postgres_client.ts";
import { anyPort } from "./any_port.ts";
import { loopbackAddress, urlHost } from "./host.ts";
import { type Account, asAccount, postgresAccount } from "./postgres_account.ts";
import { type PostgresBinaries, postgresBinaries } from "./postgres_binaries.ts";
import { readPostmaster, stopPostmaster } from "./postgres_postmaster.ts";

const MAJOR = "18";
const NAME = "tailrace";
/** Longest wait for crash recovery and start. */
const START_WITHIN_MS = 300_000;
/** A fast shutdown that takes longer than this is made an immediate one; the next start recovers from the log. */
const STOP_WITHIN_MS = 2_500;
const RESTART_DELAY_MS = 250;
/** How long the processes of a server that was killed may take to end; until then PostgreSQL refuses to start beside them. */
const ORPHANS_WITHIN_MS = 60_000;
const ORPHANS_LOOK_MS = 100;
const RESTART_DELAY_MAX_MS = 10_000;
/** How many of the server's last lines an error quotes. */
const LINES_KEPT = 12;

export interface PostgresOptions {
  /** Loopback address to listen on; anything else is replaced by 127.0.0.1, the embedded server never serves a network. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** The server's folder, made if absent. One process at a time. */
  readonly dataDir: string;
  /** The server's own messages, a line at a time. */
  readonly log?: (line: string) => void;
  /** What takes time or went wrong, in words for people: `creating the database cluster`, `it ended unexpectedly`. */
  readonly onProgress?: (step: string) => void;
}

export interface EmbeddedPostgres extends AsyncDisposable {
  /** postgres:// URL with the password, of a database and superuser named `tailrace`. */
  readonly url: string;
  readonly port: number;
  /** Process id of the server now running; changes when it is restarted after a crash. */
  readonly pid: number;
  /** Fast shutdown: rolls back what is open, writes everything down, and waits for the server to end. */
  close(): Promise<void>;
}

/**
 * Starts the embedded PostgreSQL and resolves when it answers. Creates the cluster on the first run; afterwards takes
 * over the folder as a killed process left it, a server still running included. Restarts the server if it dies. If this
 * process dies without closing, the server shuts down by itself.
 *
 * @throws ConfigError when the port is taken, the folder is in use or of another owner, or PostgreSQL cannot run here
 * @throws UnavailableError when the server does not come up
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, log = () => {}, onProgress = () => {} } = options;
  const host = loopbackAddress(options.host);
  await Deno.mkdir(dataDir, { recursive: true, mode: 0o755 });
  const root = await Deno.realPath(dataDir);
  using starting = new DisposableStack();
  starting.use(await lockFolder(root));
  const cluster = join(root, "cluster");
  const binaries = await postgresBinaries(join(root, "lib"));
  const account = await postgresAccount(cluster, [root, binaries.postgres]);
  await stopPostmaster(cluster, onProgress);
  // Before the files are made, which takes a while.
  if (options.port !== 0) checkPort(host, options.port);
  const password = await readPassword(join(root, "password"));
  await createCluster({ cluster, binaries, account, password, onProgress });
  const port = options.port === 0 ? anyPort(host) : options.port;
  const server = new Server({ host, port, cluster, binaries, account, log, onProgress });
  const url = (database: string) => `postgres://${NAME}:${password}@${urlHost(host)}:${port}/${database}`;
  try {
    await server.start();
    await createDatabase(url("postgres"));
  } catch (error) {
    await server.close();
    throw error;
  }
  const lock = starting.move();
  const close = async () => {
    await server.close();
    lock.dispose();
  };
  let closed: Promise<void> | undefined;
  return {
    url: url(NAME),
    port,
    get pid() {
      return server.pid;
    },
    close: () => closed ??= close(),
    [Symbol.asyncDispose]: () => closed ??= close(),
  };
}

async function lockFolder(root: string): Promise<Disposable> {
  const path = join(root, "lock");
  try {
    const lock = await takeLock(path, { mode: 0o600 });
    if (lock !== null) return lock;
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    throw new ConfigError({
      where: "--data (TAILRACE_DATA)",
      problem: `${path} cannot be written by user ${Deno.uid()}: it was made by another user (by root perhaps); ` +
        "start as that user again, choose another data folder, or remove this one",
    });
  }
  throw new ConfigError({
    where: "--data (TAILRACE_DATA)",
    problem: `${root} is held by another running Tailrace: stop it, or choose another data folder`,
  });
}

/** @throws ConfigError when the port is not free */
function checkPort(host: string, port: number): void {
  try {
    Deno.listen({ hostname: host, port }).close();
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse || error instanceof Deno.errors.PermissionDenied) {
      const why = error instanceof Deno.errors.AddrInUse
        ? "is taken by another program"
        : "may not be used by this user";
      throw new ConfigError({
        where: "--postgres-port (TAILRACE_POSTGRES_PORT)",
        problem:
          `port ${port} on ${host} ${why}: choose another port for PostgreSQL, or set DATABASE_URL to use a server of your own`,
      });
    }
    throw error;
  }
}

/** The superuser's password: random, made once, readable by the owner only. */
async function readPassword(path: string): Promise<string> {
  const known = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  if (/^[0-9a-f]{48}$/.test(known)) return known;
  const password = [...crypto.getRandomValues(new Uint8Array(24))].map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  await Deno.writeTextFile(`${path}.new`, password, { mode: 0o600 });
  await Deno.rename(`${path}.new`, path);
  return password;
}

interface ClusterOptions {
  readonly cluster: string;
  readonly binaries: PostgresBinaries;
  readonly account: Account;
  readonly password: string;
  readonly onProgress: (step: string) => void;
}

/** Runs initdb in a folder beside, renamed when complete: a killed first run leaves nothing half made behind. */
async function createCluster({ cluster, binaries, account, password, onProgress }: ClusterOptions): Promise<void> {
  const version = await Deno.readTextFile(join(cluster, "PG_VERSION")).catch(() => null);
  if (version?.trim() === MAJOR) return;
  if (version !== null) {
    throw new ConfigError({
      where: "--data (TAILRACE_DATA)",
      problem:
        `${cluster} was made by PostgreSQL ${version.trim()}, this is ${MAJOR}: choose another data folder or remove this one`,
    });
  }
  onProgress("creating the database cluster (first run)");
  const fresh = `${cluster}.new`;
  const passwordFile = `${cluster}.password`;
  await Deno.remove(fresh, { recursive: true }).catch(() => {});
  await Deno.mkdir(fresh, { mode: 0o700 });
  await Deno.writeTextFile(passwordFile, password, { mode: 0o600 });
  try {
    if (account.ids !== null) {
      for (const path of [fresh, passwordFile]) await Deno.chown(path, account.ids.uid, account.ids.gid);
    }
    const output = await asAccount(account, binaries.initdb, [
      `--pgdata=${fresh}`,
      `--username=${NAME}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      // Compiled into PostgreSQL: sorts the same on every machine, whatever locales it has.
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
    ], { stdout: "piped", stderr: "piped", clearEnv: true, env: serverEnv(binaries), cwd: "/" }).output();
    if (!output.success) {
      const said = new TextDecoder().decode(output.stderr).trim();
      throw new UnavailableError(`PostgreSQL could not create its cluster in ${cluster}: ${said}`);
    }
    await Deno.rename(fresh, cluster);
  } finally {
    await Deno.remove(passwordFile).catch(() => {});
  }
}

/** Nothing of our environment leaks in: PGPORT and the like would change what the server does. */
function serverEnv(binaries: PostgresBinaries): Record<string, string> {
  return { PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC", ...binaries.env };
}

async function createDatabase(url: string): Promise<void> {
  const sql = postgresClient(url);
  try {
    const [found] = await sql`select 1 from pg_database where datname = ${NAME}`;
    if (!found) await sql.unsafe(`create database ${NAME}`);
  } finally {
    await sql.end();
  }
}

interface ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly cluster: string;
  readonly binaries: PostgresBinaries;
  readonly account: Account;
  readonly log: (line: string) => void;
  readonly onProgress: (step: string) => void;
}

/** The server process: started, watched, restarted, stopped. */
class Server {
  readonly #options: ServerOptions;
  #child: Deno.ChildProcess | null = null;
  #watcher: Deno.ChildProcess | null = null;
  /** Resolves when the process has ended and its last line is read. */
  #ended: Promise<void> = Promise.resolve();
  #closing = new AbortController();
  #supervised: Promise<void> | null = null;
  #lastLines: string[] = [];

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(): Promise<void> {
    const deadline = performance.now() + ORPHANS_WITHIN_MS;
    while (!await this.#launchUnlessOrphaned(performance.now() >= deadline)) {
      await this.#stop();
      await new Promise((resolve) => setTimeout(resolve, ORPHANS_LOOK_MS));
    }
    this.#supervised = this.#supervise();
  }

  /** False when processes of a killed server still hold its memory; with `isLast` that is an error like any other. */
  async #launchUnlessOrphaned(isLast: boolean): Promise<boolean> {
    this.#lastLines = [];
    try {
      await this.#launch();
      return true;
    } catch (error) {
      if (isLast || !this.#lastLines.some((line) => line.includes("pre-existing shared memory block"))) throw error;
      return false;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#supervised;
    await this.#stop();
  }

  /** Starts the programs and resolves when the server answers. */
  async #launch(): Promise<void> {
    const { host, port, cluster, binaries, account } = this.#options;
    const settings = {
      listen_addresses: host,
      port: String(port),
      unix_socket_directories: "",
      wal_level: "logical",
      // A slot for each source of changes, and one more while it takes a snapshot.
      max_replication_slots: "64",
      max_wal_senders: "64",
      // A slot that nobody reads any more must not fill the disk; its source then says that it is lost.
      max_slot_wal_keep_size: "8GB",
      shared_buffers: "256MB",
      max_wal_size: "2GB",
      timezone: "UTC",
      log_timezone: "UTC",
      log_line_prefix: "",
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const child = asAccount(account, binaries.postgres, ["-D", cluster, ...flags], {
      stderr: "piped",
      clearEnv: true,
      env: serverEnv(binaries),
      cwd: "/",
    }).spawn();
    this.#child = child;
    this.#watcher = watchUs(account, child.pid, cluster);
    let over = false;
    this.#ended = Promise.all([child.status, this.#readLog(child.stderr)]).then(() => {
      over = true;
    });
    const deadline = performance.now() + START_WITHIN_MS;
    for (;;) {
      const postmaster = await readPostmaster(cluster);
      if (postmaster?.pid === child.pid && postmaster.status === "ready") return;
      if (over) {
        throw new UnavailableError(
          `PostgreSQL ended while it started, on port ${port}: ${this.#lastLines.join(" | ")}`,
        );
      }
      if (this.#closing.signal.aborted) throw new UnavailableError("PostgreSQL was told to end while it started");
      if (performance.now() > deadline) {
        throw new UnavailableError(
          `PostgreSQL is not ready after ${START_WITHIN_MS / 1000} s: ${this.#lastLines.join(" | ")}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async #readLog(stream: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        this.#lastLines.push(line);
        if (this.#lastLines.length > LINES_KEPT) this.#lastLines.shift();
        this.#options.log(line);
      }
    }
  }

  /** Restarts the server whenever it ends without being asked to, at most once per delay. */
  async #supervise(): Promise<void> {
    const { signal } = this.#closing;
    const closing = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    let delayMs = RESTART_DELAY_MS;
    while (!signal.aborted) {
      const startedAt = performance.now();
      await Promise.race([this.#ended, closing]);
      if (signal.aborted) return;
      if (performance.now() - startedAt > RESTART_DELAY_MAX_MS) delayMs = RESTART_DELAY_MS;
      this.#options.onProgress(
        `it ended unexpectedly (${this.#lastLines.at(-1) ?? "no message"}); starting it again in ${delayMs} ms`,
      );
      await this.#stop();
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([new Promise<void>((resolve) => timer = setTimeout(resolve, delayMs)), closing]);
      clearTimeout(timer);
      if (signal.aborted) return;
      delayMs = Math.min(2 * delayMs, RESTART_DELAY_MAX_MS);
      try {
        await this.#launch();
      } catch (error) {
        this.#options.onProgress((error as Error).message);
        await this.#stop();
      }
    }
  }

  async #stop(): Promise<void> {
    const [child, watcher] = [this.#child, this.#watcher];
    this.#child = this.#watcher = null;
    // The watcher first: it would signal a process id that may by then be someone else's.
    if (watcher !== null) {
      signal(watcher, "SIGKILL");
      await watcher.stdin.close().catch(() => {});
      await watcher.status;
    }
    if (child === null) return;
    signal(child, "SIGINT");
    const timer = setTimeout(() => signal(child, "SIGQUIT"), STOP_WITHIN_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}

function signal(child: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    child.kill(name);
  } catch {
    // It has ended already.
  }
}

/**
 * A shell that waits for its standard input to end, which happens when this process dies, however it dies; then shuts
 * the server down. It looks at `postmaster.pid` first, so it never signals a process that is not the server.
 */
function watchUs(account: Account, pid: number, cluster: string): Deno.ChildProcess {
  const script =
    'while read -r _; do :; done; [ "$(head -n 1 "$2/postmaster.pid" 2>/dev/null)" = "$1" ] && kill -INT "$1"';
  return asAccount(account, "/bin/sh", ["-c", script, "sh", String(pid), cluster], { stdin: "piped", cwd: "/" })
    .spawn();
}
