/**
 * Which account the PostgreSQL programs run as. PostgreSQL refuses to run as root, so as root they run as another user
 * that this machine already has; no user is created.
 *
 * @module
 */
import { ConfigError } from "../pipeline/errors.ts";

export interface Account {
  /** Null: as ourselves. */
  readonly ids: { readonly uid: number; readonly gid: number } | null;
  /** Keeps the right to pass through folders that only root may enter, such as /root. */
  readonly passThrough: boolean;
}

/** Reads `/etc/passwd` for a user's ids; null when there is no such user. */
async function lookUp(match: (name: string, uid: number) => boolean): Promise<{ uid: number; gid: number } | null> {
  const text = await Deno.readTextFile("/etc/passwd").catch(() => "");
  for (const line of text.split("\n")) {
    const [name, , uid, gid] = line.split(":");
    if (gid !== undefined && match(name, Number(uid))) return { uid: Number(uid), gid: Number(gid) };
  }
  return null;
}

/**
 * As root: the owner of an existing cluster, else `postgres`, else `nobody`. Not as root: ourselves, and then an
 * existing cluster must be ours.
 *
 * @param mustReach files and folders the account has to get at
 * @throws ConfigError when no account fits
 */
export async function postgresAccount(clusterDir: string, mustReach: readonly string[]): Promise<Account> {
  const owner = await Deno.stat(clusterDir).then((info) => info.uid, () => null);
  const self = Deno.uid();
  if (self !== 0) {
    if (owner === null || owner === self) return { ids: null, passThrough: false };
    throw new ConfigError({
      where: "--data (TAILRACE_DATA)",
      problem: `${clusterDir} belongs to user ${owner}, this process runs as user ${self}: ` +
        "start as that user again (as root if it was root), choose another data folder, or remove this one",
    });
  }
  const ids = (owner !== null && owner !== 0 ? await lookUp((_, uid) => uid === owner) : null) ??
    await lookUp((name) => name === "postgres") ?? await lookUp((name) => name === "nobody");
  if (ids === null || ids.uid === 0) {
    throw new ConfigError({
      where: "DATABASE_URL",
      problem: "PostgreSQL does not run as root and this machine has neither a user `postgres` nor `nobody`: " +
        "start as an ordinary user, or set DATABASE_URL to a server of your own",
    });
  }
  for (const passThrough of [false, true]) {
    const reached = await canReach({ ids, passThrough }, mustReach);
    if (reached) return { ids, passThrough };
  }
  throw new ConfigError({
    where: "--data (TAILRACE_DATA)",
    problem: `PostgreSQL does not run as root, and user ${ids.uid} cannot enter ${mustReach.join(" or ")}: ` +
      "move the project and its data folder out of root's home, or start as an ordinary user",
  });
}

async function canReach(account: Account, paths: readonly string[]): Promise<boolean> {
  try {
    const test = 'for path in "$@"; do test -e "$path" || exit 1; done';
    return (await asAccount(account, "/bin/sh", ["-c", test, "sh", ...paths]).output()).success;
  } catch {
    return false;
  }
}

/** A command that runs as `account`, in a process group of its own so that Ctrl-C in the terminal does not reach it. */
export function asAccount(
  account: Account,
  program: string,
  args: readonly string[],
  options: Deno.CommandOptions = {},
): Deno.Command {
  const common: Deno.CommandOptions = { stdin: "null", stdout: "null", stderr: "null", ...options, detached: true };
  const { ids, passThrough } = account;
  if (ids === null) return new Deno.Command(program, { ...common, args: [...args] });
  if (!passThrough) return new Deno.Command(program, { ...common, args: [...args], uid: ids.uid, gid: ids.gid });
  // The one capability that survives is reading past folder permissions; everything else of root is dropped.
  return new Deno.Command("setpriv", {
    ...common,
    args: [
      `--reuid=${ids.uid}`,
      `--regid=${ids.gid}`,
      "--clear-groups",
      "--inh-caps=-all,+dac_read_search",
      "--ambient-caps=-all,+dac_read_search",
      "--bounding-set=-all,+dac_read_search",
      "--no-new-privs",
      "--",
      program,
      ...args,
    ],
  });
}
