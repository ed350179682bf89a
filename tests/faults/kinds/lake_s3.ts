import { sleep } from "../../e2e/harness.ts";
import { Proxy } from "../../log/proxy.ts";
import { type S3Server, startS3, whyNoS3 } from "../../servers/s3.ts";
import type { FaultRun, Kind } from "../kind.ts";
import { hit } from "../network.ts";
import type { LakeAt, World } from "../world.ts";

const CHECK_EVERY = 15;

/** What is done, in turn. */
const WAYS: readonly ((run: FaultRun, at: { world: World; server: S3Server; proxy: Proxy }) => Promise<void>)[] = [
  async (run, { server }) => {
    await server.kill();
    run.inject();
    await sleep(run.between(100, 2_500));
    await server.restart();
  },
  (run, { proxy }) => hit(proxy, run),
  async (run, { server }) => {
    server.pause();
    run.inject();
    await sleep(run.between(100, 3_000));
    server.resume();
  },
  (run, { proxy }) => hit(proxy, run),
  async (run, { world, server }) => {
    await server.kill();
    await sleep(run.between(50, 700));
    await world.kill();
    run.inject();
    // A start does without it, too.
    await world.start();
    await sleep(run.between(0, 500));
    await server.restart();
  },
];

/** The lake is in a bucket whose store goes away, hangs, is slow, and whose answers get lost, those to conditional writes too. */
export const lakeS3: Kind = {
  name: "lake-s3",
  what: "the lake's S3 store killed, frozen, slow, cut off at each message in turn; kill -9 while it is away",
  counts: { full: 200, short: 5 },
  async run(run) {
    const why = await whyNoS3("versitygw");
    if (why !== null) {
      run.remarks.push(`left out: ${why}`);
      return;
    }
    await using server = await startS3("versitygw");
    const { hostname, port } = new URL(server.s3.endpoint);
    await using proxy = new Proxy({ hostname: "127.0.0.1", port: 0 }, { hostname, port: Number(port) });
    const lake = lakeInBucket(server, await server.bucket(), `http://${proxy.address}`);
    await using world = await run.world({ broker: "apart", postgres: "apart", lake });
    while (run.injected < run.count) {
      await sleep(run.between(50, 600));
      await WAYS[run.injected % WAYS.length](run, { world, server, proxy });
      await run.recovers(world);
      if (run.injected % CHECK_EVERY === 0) await run.check(world);
    }
    await run.finish(world);
  },
};

/** The server keeps a bucket's objects as files, so that the tables can be read without asking it. */
function lakeInBucket(server: S3Server, bucket: string, endpoint: string): LakeAt {
  const { region, accessKeyId, secretAccessKey } = server.s3;
  return {
    folder: `${server.folderOf(bucket)}/lake`,
    env: {
      TAILRACE_LAKE: `s3://${bucket}/lake`,
      TAILRACE_S3_ENDPOINT: endpoint,
      TAILRACE_S3_REGION: region,
      TAILRACE_S3_ACCESS_KEY_ID: accessKeyId,
      TAILRACE_S3_SECRET_ACCESS_KEY: secretAccessKey,
    },
  };
}
