/**
 * A Tailrace with definitions of our own: every entry of a checkout under another path, its `streams` replaced. The process
 * that is tested is the real command line.
 *
 * @module
 */
import { join } from "node:path";

/** This checkout. */
export const PROJECT = new URL("../../", import.meta.url).pathname;
const STREAMS = new URL("./streams/", import.meta.url);

/** What the program consists of. */
const PARTS = ["main.ts", "cli", "api", "pipeline", "broker", "bench", "schemas", "migrations", "deno.json"];

/**
 * Makes the project in an empty folder and returns the path of its `main.ts`. `source` is another checkout to take, `streams` a folder
 * of other definitions.
 */
export async function layOut(
  folder: string,
  { source = PROJECT, streams: own = STREAMS }: { readonly source?: string; readonly streams?: URL } = {},
): Promise<string> {
  await Deno.mkdir(join(folder, "streams"), { recursive: true });
  for (const part of [...PARTS, "deno.lock", "node_modules"]) {
    await Deno.symlink(join(source, part), join(folder, part));
  }
  for await (const { name } of Deno.readDir(own)) {
    const text = await Deno.readTextFile(new URL(name, own));
    await Deno.writeTextFile(join(folder, "streams", name), text.replace(/"(\.\.\/)+pipeline\//, '"../pipeline/'));
  }
  return join(folder, "main.ts");
}
