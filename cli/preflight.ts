import { existsSync } from "node:fs";
import { readKeys } from "../api/security/key_file.ts";
import { isLoopback, loopbackAddress } from "../broker/host.ts";
import { ConfigError, type Fault } from "../pipeline/errors.ts";
import { takeLock } from "../pipeline/file_lock.ts";
import type { Config } from "./config.ts";
import { takenPort } from "./embedded.ts";
import { withPermissionHint } from "./permission_hint.ts";

/**
 * Takes the data folder for this process and looks whether the ports are free and the API has keys where it needs them, so that
 * all that is in the way is told at once and before anything is started. The folder is given up when the result is disposed of, or when the process dies.
 *
 * @throws ConfigError naming the settings to change
 */
export async function preflight(config: Config): Promise<Disposable> {
  const folder = await takeFolder(config.dataDir);
  const isOurs = !("problem" in folder);
  const faults = [
    isOurs ? [] : [folder],
    ...portsNeeded(config, { isOurs }).map(portFaults),
    await keyFaults(config),
  ].flat();
  if (faults.length === 0) return folder as Disposable;
  if (isOurs) folder[Symbol.dispose]();
  throw new ConfigError(faults);
}

/** Only this machine is trusted without a key. */
async function keyFaults({ host, apiKeysFile, dataDir }: Config): Promise<readonly Fault[]> {
  try {
    const keys = await readKeys(apiKeysFile);
    if (isLoopback(host) || (keys !== null && keys.length > 0)) return [];
    const where = apiKeysFile === `${dataDir}/api-keys.json` ? `--data '${dataDir}'` : `--api-keys '${apiKeysFile}'`;
    return [{
      where: "--host (TAILRACE_HOST)",
      problem: `${host} is reached from other machines and there is no API key: ` +
        `make one (deno task key new --role admin ${where}), or listen on 127.0.0.1`,
    }];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

async function takeFolder(path: string): Promise<Disposable | Fault> {
  const where = "--data (TAILRACE_DATA)";
  try {
    await Deno.mkdir(path, { recursive: true });
    const lock = await takeLock(`${path}/lock`);
    if (lock !== null) return lock;
    return { where, problem: `${path} is in use by another running Tailrace: stop it, or choose another folder` };
  } catch (error) {
    return { where, problem: `${path} cannot be written: ${withPermissionHint(error as Error)}` };
  }
}

interface PortNeeded {
  readonly part: string;
  readonly variable: string;
  readonly host: string;
  readonly port: number;
}

/** `isOurs`: the data folder is; of any other nothing is read. */
function portsNeeded(
  { host, ports, brokers, registryUrl, databaseUrl, dataDir, mode, until }: Config,
  { isOurs }: { readonly isOurs: boolean },
): PortNeeded[] {
  // A run that ends by itself serves nobody.
  const api = until === null ? [{ part: "api", variable: "TAILRACE_PORT", host, port: ports.api }] : [];
  if (mode !== "dev") return api;
  // The server of a run that was killed may hold its port a little longer; starting PostgreSQL ends it first.
  const isLeftBehind = isOurs && !databaseUrl && existsSync(`${dataDir}/postgres/cluster/postmaster.pid`);
  return [
    ...api,
    ...brokers.length > 0 ? [] : [{ part: "broker", variable: "TAILRACE_BROKER_PORT", host, port: ports.broker }],
    ...registryUrl ? [] : [{ part: "registry", variable: "TAILRACE_REGISTRY_PORT", host, port: ports.registry }],
    // The embedded PostgreSQL never serves a network.
    ...databaseUrl || isLeftBehind
      ? []
      : [{ part: "postgres", variable: "TAILRACE_POSTGRES_PORT", host: loopbackAddress(host), port: ports.postgres }],
  ];
}

function portFaults({ part, variable, host, port }: PortNeeded): readonly Fault[] {
  try {
    Deno.listen({ hostname: host, port }).close();
    return [];
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return takenPort(part, variable, port).faults;
    // An address that is not this machine's, or a port that only root may use.
    const flag = part === "api" ? "--port" : `--${part}-port`;
    return [{
      where: `--host or ${flag} (${variable})`,
      problem: `cannot listen on ${host}:${port}: ${(error as Error).message}`,
    }];
  }
}
