/**
 * A schema registry with the REST API of Confluent's, for Avro, kept in a folder between runs.
 *
 * @module
 */
import { join } from "node:path";
import { ConfigError } from "../../pipeline/errors.ts";
import { isLoopback, urlHost } from "../host.ts";
import { createRegistryApp } from "./app.ts";
import { Registry } from "./registry.ts";

/** Requests still being sent this long after a close are cut off. */
const CLOSE_WITHIN_MS = 1_000;

export interface RegistryOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Made if absent. One process at a time. */
  readonly dataDir: string;
  /** Failures of the registry itself, a line at a time; refused requests are told to their sender only. */
  readonly log?: (line: string) => void;
}

export interface EmbeddedRegistry extends AsyncDisposable {
  /** Base URL, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Ends when the requests under way are answered and on disk. */
  close(): Promise<void>;
}

/**
 * Starts the registry and resolves when it answers.
 *
 * @throws ConfigError when the port is taken, or the folder's file is damaged or in use
 */
export async function startRegistry(options: RegistryOptions): Promise<EmbeddedRegistry> {
  const { host, dataDir, log } = options;
  await Deno.mkdir(dataDir, { recursive: true });
  const registry = await Registry.open(join(dataDir, "schemas.ndjson"));
  const app = createRegistryApp(registry, { loopbackOnly: isLoopback(host), log });
  const cut = new AbortController();
  const underWay = new Set<Promise<unknown>>();
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve(
      { hostname: host, port: options.port, signal: cut.signal, onListen: () => {} },
      (request, info) => {
        const done: Promise<unknown> = info.completed.catch(() => {}).then(() => underWay.delete(done));
        underWay.add(done);
        return app.fetch(request);
      },
    );
  } catch (error) {
    registry[Symbol.dispose]();
    if (!(error instanceof Deno.errors.AddrInUse || error instanceof Deno.errors.PermissionDenied)) throw error;
    const why = error instanceof Deno.errors.AddrInUse ? "is taken by another program" : "may not be used by this user";
    throw new ConfigError({
      where: "--registry-port (TAILRACE_REGISTRY_PORT)",
      problem: `port ${options.port} on ${host} ${why}: choose another port for the schema registry, ` +
        "or set SCHEMA_REGISTRY_URL to use one of your own",
    });
  }
  const { port } = server.addr;
  const close = async () => {
    // Not `server.shutdown()`: it waits for a request that never ends, and an abort after it throws.
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      Promise.all(underWay),
      new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSE_WITHIN_MS)),
    ]);
    clearTimeout(timer);
    cut.abort();
    await server.finished;
    await registry.settled();
    registry[Symbol.dispose]();
  };
  let closed: Promise<void> | undefined;
  return {
    url: `http://${urlHost(host)}:${port}`,
    port,
    close: () => closed ??= close(),
    [Symbol.asyncDispose]: () => closed ??= close(),
  };
}
