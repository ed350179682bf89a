/** Puts keys that others put too, and prints which of them it was the first to: `folder`, `own number`, `keys`. */
import { createDiskStore } from "../../../../pipeline/sinks/lake/disk_store.ts";

const [folder, own, keys] = Deno.args;
await using store = createDiskStore({ folder });
const won: number[] = [];
for (let key = 0; key < Number(keys); key++) {
  if (await store.putIfAbsent(`t/${key}`, new TextEncoder().encode(own))) won.push(key);
}
console.log(JSON.stringify(won));
