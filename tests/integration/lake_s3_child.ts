/** Uses a store under a set of permissions: commits, takes a large file in, and has it back; says how much memory that took, in bytes. */
import { join } from "node:path";
import { createS3Store } from "../../pipeline/sinks/lake/s3/s3_store.ts";

const { url, s3, folder, pieces } = JSON.parse(Deno.args[0]);
const PIECE = 8 * 2 ** 20;
const own = join(folder, crypto.randomUUID());
await using store = createS3Store({ url, s3, folder: own, cacheBytes: 2 ** 30 });
const key = `${crypto.randomUUID()}.json`;
const commits = [await store.putIfAbsent(key, new Uint8Array([1])), await store.putIfAbsent(key, new Uint8Array([2]))];
const path = join(store.scratch, "x.parquet");
const bytes = new Uint8Array(PIECE);
for (let piece = 0; piece < pieces; piece++) await Deno.writeFile(path, bytes.fill(piece), { append: true });
const before = Deno.memoryUsage().rss;
let most = before;
const watch = setInterval(() => most = Math.max(most, Deno.memoryUsage().rss), 10);
await store.take(path, "t/x.parquet");
// Another, which has no copy of it yet.
await using other = createS3Store({ url, s3, folder: own, cacheBytes: 2 ** 30 });
using files = await other.local(["t/x.parquet"]);
clearInterval(watch);
const { size } = await Deno.stat(files.paths[0]);
await store.remove([key, "t/x.parquet"]);
console.log(JSON.stringify({ commits, size, took: most - before }));
