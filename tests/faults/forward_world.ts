/**
 * Two brokers, each in a process of its own, the farther one behind a proxy; a process that forwards between them; and a producer.
 *
 * @module
 */
import { Child, sleep, temporaryFolder, until } from "../e2e/harness.ts";
import { Proxy } from "../log/proxy.ts";
import { freePort } from "../servers/free_port.ts";
import { bytes, record, Side, text } from "../sources/kafka_topics/forwarding.ts";
import type { Findings } from "./findings.ts";
import { BrokerApart } from "./world.ts";

const TOPIC = "readings";
const PARTITIONS = 4;
/** Another loopback address, where the proxy listens at the broker's port. */
const PROXY_HOST = "127.0.0.2";
const BATCH = 20;
const PAUSE_MS = 15;
const RECOVER_WITHIN_MS = 240_000;

export class ForwardWorld implements AsyncDisposable {
  readonly near: BrokerApart;
  readonly far: BrokerApart;
  readonly proxy: Proxy;
  /** Values whose write was acknowledged. */
  readonly acknowledged = new Set<string>();
  readonly #parts: AsyncDisposableStack;
  readonly #nearSide: Side;
  /** Not through the proxy's faults. */
  readonly #farSide: Side;
  #forwarder: Child | null = null;
  #stop = new AbortController();
  #loading: Promise<void> = Promise.resolve();
  #sent = 0;

  private constructor(parts: AsyncDisposableStack, near: BrokerApart, far: BrokerApart) {
    this.#parts = parts;
    this.near = near;
    this.far = far;
    const to = { hostname: "127.0.0.1", port: far.port };
    this.proxy = parts.use(new Proxy({ hostname: PROXY_HOST, port: far.port }, to));
    this.#nearSide = parts.use(new Side([`127.0.0.1:${near.port}`]));
    this.#farSide = parts.use(new Side([this.proxy.address]));
  }

  static async open(): Promise<ForwardWorld> {
    const parts = new AsyncDisposableStack();
    const folder = parts.use(temporaryFolder());
    const near = parts.use(new BrokerApart(`${folder.path}/near`, freePort()));
    const far = parts.use(new BrokerApart(`${folder.path}/far`, freePort(), { advertisedHost: PROXY_HOST }));
    await Promise.all([near.up(), far.up()]);
    const world = new ForwardWorld(parts, near, far);
    await world.#nearSide.topic(TOPIC, PARTITIONS);
    world.startForwarder();
    world.#loading = world.#load();
    return world;
  }

  startForwarder(): void {
    const script = new URL("./forward_child.ts", import.meta.url).pathname;
    const options = {
      from: [`127.0.0.1:${this.near.port}`],
      into: [this.proxy.address],
      options: { topics: [TOPIC] },
    };
    this.#forwarder = new Child([Deno.execPath(), "run", "-A", script, JSON.stringify(options)]);
  }

  /** SIGKILL. */
  async killForwarder(): Promise<void> {
    await this.#forwarder?.[Symbol.asyncDispose]();
    this.#forwarder = null;
  }

  /** Waits until what is acknowledged now is on the far side, and gives how long that took. */
  async recovered(): Promise<number> {
    const began = performance.now();
    const wanted = [...this.acknowledged].slice(-BATCH);
    await until("what was written last is forwarded", async () => {
      this.#assertForwards();
      const there = new Set((await this.#farSide.values(TOPIC).catch(() => [])).flat());
      return wanted.every((value) => there.has(value));
    }, RECOVER_WITHIN_MS);
    return performance.now() - began;
  }

  /** Ends the load, and compares both sides record by record once all is over there. */
  async check(findings: Findings): Promise<number> {
    await this.#endLoad();
    const near = await this.#nearSide.read(TOPIC);
    const written = near.reduce((sum, records) => sum + records.length, 0);
    const count = async () => (await this.#farSide.read(TOPIC)).reduce((sum, records) => sum + records.length, 0);
    const until = performance.now() + RECOVER_WITHIN_MS;
    while (await count().catch(() => -1) < written && performance.now() < until) {
      this.#assertForwards();
      await sleep(100);
    }
    const far = await this.#farSide.read(TOPIC);
    const values = new Set(near.flat().map(({ value }) => text(value)));
    for (const value of this.acknowledged) if (!values.has(value)) findings.note("lost", "broker", value);
    near.forEach((records, partition) => {
      const there = far[partition] ?? [];
      const ids = there.map(({ value }) => text(value));
      const counts = Map.groupBy(ids, (id) => id);
      for (const { value } of records) if (!counts.has(text(value))) findings.note("lost", "topic", text(value)!);
      if (there.length > records.length) {
        for (const [id, all] of counts) {
          if (all.length > 1) findings.note("duplicated", "topic", `${id} ${all.length} times`);
        }
      }
      records.forEach((one, at) => {
        const { offset: _, ...wanted } = one;
        const { offset: __, ...found } = there[at] ?? { offset: -1 };
        if (JSON.stringify(wanted) !== JSON.stringify(found)) {
          findings.note("wrong", "topic", `${TOPIC}/${partition}, record ${at} is not ${text(one.value)}`);
        }
      });
    });
    this.#stop = new AbortController();
    this.#loading = this.#load();
    return written;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endLoad();
    await this.killForwarder();
    await this.#parts.disposeAsync();
  }

  async #endLoad(): Promise<void> {
    this.#stop.abort();
    await this.#loading;
  }

  /** Writes on and on; a write that fails is written again, as what it was is not known. */
  async #load(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const partition = this.#sent % PARTITIONS;
      const values = Array.from({ length: BATCH }, (_, i) => `${this.#sent}.${i}`);
      this.#sent++;
      const records = values.map((value, i) =>
        record(value, { key: bytes(`sensor ${partition} ${i % 5}`), headers: [["n", bytes(`${i}`)]] })
      );
      while (!signal.aborted) {
        try {
          await this.#nearSide.write(TOPIC, partition, records);
          for (const value of values) this.acknowledged.add(value);
          break;
        } catch {
          await sleep(100);
        }
      }
      await sleep(PAUSE_MS);
    }
  }

  #assertForwards(): void {
    const child = this.#forwarder;
    if (child?.hasEnded) throw new Error(`The forwarding ended by itself: ${child.stdout}${child.stderr}`);
  }
}
