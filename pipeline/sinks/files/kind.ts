import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { DeliveryContext, DeliveryKind, DeliveryPlan } from "../../deliveries/delivery_spec.ts";
import { ConfigError, type Fault } from "../../errors.ts";
import { type KnownOptions, unknownOptions } from "../../plan/unknown_options.ts";
import { createDiskStore } from "../lake/disk_store.ts";
import type { ObjectStore } from "../lake/object_store.ts";
import { checkStore } from "../lake/open_store.ts";
import { parseS3Url } from "../lake/s3/options.ts";
import { createS3Store } from "../lake/s3/s3_store.ts";
import type { FilesSpec, JsonFilesSpec } from "./definition.ts";
import { DELETED_FIELD, ndjson } from "./ndjson.ts";
import { createFilesSink } from "./sink.ts";

/** Local copies of a bucket's objects: none of a delivery's is read back as a file. */
const CACHE_BYTES = 1024 * 1024;
const OPTIONS: KnownOptions<JsonFilesSpec> = { folder: true, url: true, s3: true, gzip: true };

export const jsonFilesKind: DeliveryKind<JsonFilesSpec> = {
  check: (spec, plan) => [...unknownOptions(spec, OPTIONS, "to"), ...filesFaults(spec, plan)],

  describe: (spec) => `JSON files in ${filesUrl(spec)}`,

  claim: (spec) => `files ${filesUrl(spec)}`,

  open: async (spec, context) => {
    const isGzip = spec.gzip ?? true;
    const store = await openFilesStore(spec, context);
    return createFilesSink({
      name: `files ${spec.folder}`,
      store,
      consumer: context.consumer,
      log: context.log,
      format: {
        extension: isGzip ? "ndjson.gz" : "ndjson",
        encode: (rows, first) => ndjson(rows, { first, isGzip }),
      },
    });
  },
};

type FilesPlace = Pick<FilesSpec, "folder" | "url" | "s3">;

/** What is wrong with where files go. */
export function filesFaults({ folder, url, s3 }: FilesPlace, { columns }: Pick<DeliveryPlan, "columns">): Fault[] {
  const faults: Fault[] = [];
  if (typeof folder !== "string" || !/^[\w][\w.=@+-]*(\/[\w][\w.=@+-]*)*$/.test(folder)) {
    faults.push({
      where: "to.folder",
      problem: `${JSON.stringify(folder)} is no folder: names of a-z, 0-9, . _ - with / between`,
    });
  }
  if (url !== undefined && !isFolderUrl(url) && parseS3Url(url) === null) {
    faults.push({ where: "to.url", problem: `"${url}" is neither file:///folder nor s3://bucket/prefix` });
  }
  if (url?.startsWith("s3://") && s3 === undefined) {
    faults.push({
      where: "to.s3",
      problem: `say how to enter the bucket: { region, accessKeyId: secret(".."), secretAccessKey: secret("..") }`,
    });
  }
  if (columns.some(({ name }) => name === DELETED_FIELD)) {
    faults.push({
      where: "from.schema",
      problem: `the field ${DELETED_FIELD} says here that a key is gone: name it otherwise`,
    });
  }
  return faults;
}

function isFolderUrl(url: string): boolean {
  return url.startsWith("file:///") && URL.canParse(url);
}

/** Where files are, for people; `files/` stands for the one in the data folder. */
export function filesUrl({ folder, url }: FilesPlace): string {
  return url === undefined ? `files/${folder}` : `${url.replace(/\/$/, "")}/${folder}`;
}

/** @throws ConfigError when nothing can be written there; UnavailableError when the store is away */
export async function openFilesStore(
  { folder, url, s3 }: FilesPlace,
  { plan, consumer, secrets, dataDir }: Pick<DeliveryContext, "plan" | "consumer" | "secrets" | "dataDir">,
): Promise<ObjectStore> {
  const root = url ?? pathToFileURL(resolve(dataDir, "files")).href;
  const whole = filesUrl({ folder, url: root });
  const store = whole.startsWith("file:") ? createDiskStore({ folder: fileURLToPath(whole) }) : createS3Store({
    url: whole,
    s3: {
      endpoint: s3!.endpoint ?? "",
      region: s3!.region,
      accessKeyId: secrets.get(s3!.accessKeyId),
      secretAccessKey: secrets.get(s3!.secretAccessKey),
      sessionToken: "",
      pathStyle: null,
    },
    folder: join(dataDir, "files-s3", plan.name, String(consumer)),
    cacheBytes: CACHE_BYTES,
  });
  try {
    await checkStore(store);
    return store;
  } catch (error) {
    await store[Symbol.asyncDispose]();
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.faults.map(({ problem }) => ({ where: `${plan.name}.to`, problem })));
  }
}
