import type { ObjectStore } from "../../../../pipeline/sinks/lake/object_store.ts";

/** The methods of a store that are asked one at a time. */
export type StoreCall = "get" | "putIfAbsent" | "put" | "take" | "local" | "remove";

/** A store that asks before and after each call whether it may go on; what throws is the call's failure. */
export function watchedStore(
  store: ObjectStore,
  watch: (moment: "before" | "after", call: StoreCall, keys: readonly string[]) => Promise<void>,
): ObjectStore {
  const around = async <T>(call: StoreCall, keys: readonly string[], work: () => Promise<T>): Promise<T> => {
    await watch("before", call, keys);
    const result = await work();
    await watch("after", call, keys);
    return result;
  };
  return {
    url: store.url,
    scratch: store.scratch,
    get: (key, options) => around("get", [key], () => store.get(key, options)),
    putIfAbsent: (key, bytes, options) => around("putIfAbsent", [key], () => store.putIfAbsent(key, bytes, options)),
    put: (key, bytes, options) => around("put", [key], () => store.put(key, bytes, options)),
    take: (path, key, options) => around("take", [key], () => store.take(path, key, options)),
    local: (keys, options) => around("local", keys, () => store.local(keys, options)),
    list: (prefix, options) => store.list(prefix, options),
    remove: (keys, options) => around("remove", keys, () => store.remove(keys, options)),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
