/**
 * The files that a path or pattern names.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";

/** More files than this at once are not looked at: each look would take longer than the pause before it. */
export const FOUND_MAX = 50_000;
/** Folders in folders. */
export const DEPTH_MAX = 16;
const UNFINISHED = /(^\.)|(\.(tmp|part|partial|crdownload)$)/i;

/** A file as it was when it was looked at. */
export interface FoundFile {
  /** As it is shown and remembered: the path as the definition begins it. */
  readonly name: string;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly mtimeMs: number;
}

/** Why a folder could not be looked at, in words. */
export class FolderAway extends Error {
  override readonly name = "FolderAway";
}

/**
 * All files that match, in the order of their names. Links are followed as far as this process may read.
 *
 * @throws FolderAway when the folder is missing or cannot be read
 * @throws ConfigError when this process may not read there, or there are more than `foundMax`, `FOUND_MAX` unless told
 */
export async function findFiles(pattern: string, { foundMax = FOUND_MAX } = {}): Promise<FoundFile[]> {
  const { folder, segments } = splitPattern(pattern);
  const found: FoundFile[] = [];
  if (segments.length === 0) {
    const file = await look(folder);
    if (file !== null) found.push(file);
    else if (folder.includes("/")) await readable(folder.slice(0, folder.lastIndexOf("/")) || "/");
    return found;
  }
  await walk(folder, segments, { found, foundMax, depth: 0 });
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The folder before the first segment with a pattern, and the segments from there on. */
export function splitPattern(pattern: string): { readonly folder: string; readonly segments: readonly string[] } {
  const segments = pattern.split("/");
  const first = segments.findIndex((segment) => /[*?]/.test(segment));
  if (first < 0) return { folder: pattern, segments: [] };
  const folder = segments.slice(0, first).join("/");
  return { folder: folder === "" ? (pattern.startsWith("/") ? "/" : ".") : folder, segments: segments.slice(first) };
}

async function readable(folder: string): Promise<void> {
  for await (const _ of entries(folder)) return;
}

async function walk(
  folder: string,
  [segment, ...rest]: readonly string[],
  { found, foundMax, depth }: { readonly found: FoundFile[]; readonly foundMax: number; readonly depth: number },
): Promise<void> {
  if (depth > DEPTH_MAX) return;
  // `**` is no folder at all, or one and again `**`.
  if (segment === "**" && rest.length > 0) await walk(folder, rest, { found, foundMax, depth });
  const matches = segment === "**" ? null : segmentPattern(segment);
  for await (const entry of entries(folder)) {
    if (UNFINISHED.test(entry.name) || (matches !== null && !matches.test(entry.name))) continue;
    const path = folder === "." ? entry.name : folder === "/" ? `/${entry.name}` : `${folder}/${entry.name}`;
    // A link to a folder could lead round in a circle.
    if (entry.isDirectory) {
      if (segment === "**") await walk(path, [segment, ...rest], { found, foundMax, depth: depth + 1 });
      else if (rest.length > 0) await walk(path, rest, { found, foundMax, depth: depth + 1 });
    } else if (rest.length === 0) {
      // A link may lead anywhere, and whoever may write here may make one.
      const file = await look(path, { isLink: entry.isSymlink });
      if (file === null) continue;
      if (found.push(file) > foundMax) {
        throw new ConfigError({
          where: folder,
          problem: `more than ${foundMax} files match: move those that were read to another folder`,
        });
      }
    }
  }
}

async function* entries(folder: string): AsyncGenerator<Deno.DirEntry> {
  try {
    yield* Deno.readDir(folder);
  } catch (error) {
    throw folderError(error, folder);
  }
}

function folderError(error: unknown, folder: string): unknown {
  if (error instanceof Deno.errors.NotFound) return new FolderAway(`there is no folder ${folder}`);
  if (error instanceof Deno.errors.PermissionDenied) return new FolderAway(`the folder ${folder} may not be read`);
  if (error instanceof Deno.errors.NotCapable) return notAllowed(folder);
  if (error instanceof Error && "code" in error) return new FolderAway(`the folder ${folder}: ${error.message}`);
  return error;
}

/** The process itself was started without the right to read there. */
export function notAllowed(path: string): ConfigError {
  return new ConfigError({
    where: path,
    problem: "Tailrace is not allowed to read here: files are read in the project's folder, /data and /tmp. " +
      "Put them there, or add the folder to `read` of `permissions` in deno.json",
  });
}

/** Null for what is no file, or is gone by now, or leads to where this process may not read. */
async function look(path: string, { isLink = false } = {}): Promise<FoundFile | null> {
  try {
    const real = await Deno.realPath(path);
    const { isFile, size, mtime } = await Deno.stat(real);
    return isFile ? { name: path, size, mtimeMs: mtime?.getTime() ?? 0 } : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    if (error instanceof Deno.errors.PermissionDenied) {
      if (isLink) return null;
      // Whoever may list a folder may still not look at what is in it.
      throw new FolderAway(`${path} may not be looked at: its folder lacks the right to be searched (chmod +x)`);
    }
    if (error instanceof Deno.errors.NotCapable) {
      if (isLink) return null;
      throw notAllowed(path);
    }
    throw folderError(error, path);
  }
}

function segmentPattern(segment: string): RegExp {
  const source = segment.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
  return new RegExp(`^${source}$`, "s");
}
