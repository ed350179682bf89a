import { type BrokerOptions, type RunningBroker, startBroker } from "../../../broker/kafka/mod.ts";
import { crc32c } from "../../../pipeline/log/crc32c.ts";
import { WireReader, WireWriter } from "../../../pipeline/log/wire.ts";

/** A broker on a free port; its log lines are kept to be looked at. */
export interface TestBroker extends AsyncDisposable {
  readonly running: RunningBroker;
  readonly address: string;
  readonly lines: string[];
}

export async function brokerIn(dataDir: string, options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const running = await startBroker({ host: "127.0.0.1", port: 0, dataDir, log, ...options });
  const address = `${running.host}:${running.port}`;
  return { running, address, lines, [Symbol.asyncDispose]: () => running.close() };
}

/** Starts a broker as a process of its own, to be killed, and waits until it says where it listens. */
export async function killableBroker(
  dataDir: string,
): Promise<{ process: Deno.ChildProcess; broker: TestBroker }> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("./kill_child.ts", import.meta.url).pathname, dataDir],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = process.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  await process.stdout.cancel();
  const port = Number(new TextDecoder().decode(value));
  const kill = async () => {
    process.kill("SIGKILL");
    await process.status;
  };
  const running = { host: "127.0.0.1", port, failed: new Promise<Error>(() => {}), close: kill };
  return {
    process,
    broker: {
      running: { ...running, [Symbol.asyncDispose]: kill },
      address: `127.0.0.1:${port}`,
      lines: [],
      [Symbol.asyncDispose]: kill,
    },
  };
}

/** A folder that is removed at the end of the scope. */
export function temporaryFolder(): { path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "tailrace_broker_" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

export interface BatchOptions {
  readonly timestamp?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly transactional?: boolean;
}

/** A record batch, uncompressed, of the given values. */
export function recordBatch(values: readonly string[], options: BatchOptions = {}): Uint8Array<ArrayBuffer> {
  const { timestamp = 1_700_000_000_000, producerId = -1, producerEpoch = -1, baseSequence = -1 } = options;
  const batch = new WireWriter();
  batch.int64(0);
  const length = batch.reserveInt32();
  batch.int32(-1).int8(2);
  const crc = batch.reserveInt32();
  batch.int16(options.transactional ? 0x10 : 0).int32(values.length - 1).int64(timestamp).int64(
    timestamp + values.length - 1,
  );
  batch.int64(producerId).int16(producerEpoch).int32(baseSequence).int32(values.length);
  values.forEach((value, index) => {
    const text = new TextEncoder().encode(value);
    const record = new WireWriter().int8(0).varlong(index).varint(index).varint(-1).varint(text.length).raw(text)
      .varint(0);
    batch.varint(record.position).raw(record.bytes());
  });
  batch.patchLength(length);
  batch.view.setUint32(crc, crc32c(batch.data, crc + 4, batch.position));
  return batch.bytes().slice();
}

export interface FoundRecord {
  readonly offset: number;
  readonly value: string;
}

export interface FoundBatch {
  readonly baseOffset: number;
  readonly producerId: number;
  readonly epoch: number;
  readonly transactional: boolean;
  /** Null for records. */
  readonly marker: "commit" | "abort" | null;
  readonly records: FoundRecord[];
}

/** The values of the records in whole uncompressed batches, without markers. */
export function valuesIn(data: Uint8Array): FoundRecord[] {
  return batchesIn(data).flatMap(({ marker, records }) => marker === null ? records : []);
}

/** What a reader of committed records makes of a fetch. */
export function committedIn(
  data: Uint8Array,
  aborted: readonly { producerId: number; first: number }[],
): FoundRecord[] {
  const left = [...aborted].sort((a, b) => a.first - b.first);
  const skipped = new Set<number>();
  return batchesIn(data).flatMap(({ baseOffset, producerId, transactional, marker, records }) => {
    while (left.length > 0 && left[0].first <= (records.at(-1)?.offset ?? baseOffset)) {
      skipped.add(left.shift()!.producerId);
    }
    if (marker === "abort") skipped.delete(producerId);
    return marker !== null || (transactional && skipped.has(producerId)) ? [] : records;
  });
}

export function batchesIn(data: Uint8Array): FoundBatch[] {
  const batches: FoundBatch[] = [];
  for (const reader = new WireReader(data); reader.remaining > 0;) {
    const baseOffset = reader.int64();
    const end = reader.int32() + reader.position;
    reader.skip(9);
    const attributes = reader.int16();
    reader.skip(20);
    const producerId = reader.int64();
    const epoch = reader.int16();
    reader.skip(4);
    const found: FoundRecord[] = [];
    let marker: FoundBatch["marker"] = null;
    for (let count = reader.int32(); count > 0; count--) {
      const recordEnd = reader.varint() + reader.position;
      reader.int8();
      reader.varlong();
      const offset = baseOffset + reader.varint();
      const key = reader.raw(Math.max(0, reader.varint()));
      if (attributes & 0x20) marker = key[3] === 1 ? "commit" : "abort";
      found.push({ offset, value: new TextDecoder().decode(reader.raw(reader.varint())) });
      reader.skip(recordEnd - reader.position);
    }
    if (reader.position !== end) throw new Error("the records do not end where their batch does");
    const transactional = (attributes & 0x10) !== 0;
    batches.push({ baseOffset, producerId, epoch, transactional, marker, records: found });
  }
  return batches;
}

/** A connection that sends frames as they are given and returns what comes back. */
export class RawClient implements Disposable {
  readonly #conn: Deno.Conn;
  #correlation = 0;

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  static async open(broker: TestBroker): Promise<RawClient> {
    return new RawClient(await Deno.connect({ hostname: broker.running.host, port: broker.running.port }));
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** Sends a request with a header of version 1. Returns its correlation id. */
  async send(key: number, version: number, body: (writer: WireWriter) => unknown): Promise<number> {
    const writer = new WireWriter();
    const frame = writer.reserveInt32();
    writer.int16(key).int16(version).int32(++this.#correlation).string("raw");
    body(writer);
    await this.write(writer.patchLength(frame).bytes());
    return this.#correlation;
  }

  /** Reads one frame, correlation id included; null when the connection was closed instead. */
  async receive(): Promise<WireReader | null> {
    const head = await this.#exactly(4);
    const frame = head === null ? null : await this.#exactly(new WireReader(head).int32());
    return frame === null ? null : new WireReader(frame);
  }

  async request(key: number, version: number, body: (writer: WireWriter) => unknown): Promise<WireReader> {
    const correlation = await this.send(key, version, body);
    const answer = await this.receive();
    if (answer === null) throw new Error("the broker closed the connection");
    if (answer.int32() !== correlation) throw new Error("an answer to another request");
    return answer;
  }

  /** Asks for metadata (version 4) so that the topic is made. */
  async createTopic(name: string): Promise<void> {
    await this.request(3, 4, (w) => w.arrayLength(1).string(name).boolean(true));
  }

  /** Produces (version 7) to partition 0 of a topic, unless told another. */
  async produce(
    topic: string,
    records: Uint8Array,
    acks = -1,
    { partition = 0, transactionalId = null as string | null } = {},
  ): Promise<{ error: number; offset: number }> {
    const answer = await this.request(0, 7, (w) => {
      w.string(transactionalId).int16(acks).int32(1000).arrayLength(1).string(topic).arrayLength(1);
      w.int32(partition).byteField(records);
    });
    answer.arrayLength();
    answer.string();
    answer.arrayLength();
    answer.int32();
    return { error: answer.int16(), offset: answer.int64() };
  }

  /** Fetches (version 11) from partition 0 of a topic, unless told another. */
  async fetch(
    topic: string,
    offset: number,
    { waitMs = 0, bytesMin = 1, bytesMax = 1 << 20, partition = 0, committed = false } = {},
  ): Promise<{
    error: number;
    end: number;
    stable: number;
    start: number;
    aborted: { producerId: number; first: number }[];
    records: Uint8Array;
  }> {
    const answer = await this.request(1, 11, (w) => {
      w.int32(-1).int32(waitMs).int32(bytesMin).int32(bytesMax).int8(committed ? 1 : 0).int32(0).int32(-1);
      w.arrayLength(1).string(topic).arrayLength(1).int32(partition).int32(-1).int64(offset).int64(-1).int32(bytesMax)
        .arrayLength(0).string("");
    });
    answer.skip(10);
    answer.arrayLength();
    answer.string();
    answer.arrayLength();
    answer.int32();
    const error = answer.int16();
    const end = answer.int64();
    const stable = answer.int64();
    const start = answer.int64();
    const aborted = Array.from({ length: Math.max(0, answer.arrayLength()) }, () => {
      return { producerId: answer.int64(), first: answer.int64() };
    });
    answer.int32();
    return { error, end, stable, start, aborted, records: answer.nullableBytes() ?? new Uint8Array(0) };
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }

  async #exactly(count: number): Promise<Uint8Array | null> {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const read = await this.#conn.read(bytes.subarray(at)).catch(() => null);
      if (read === null) return null;
      at += read;
    }
    return bytes;
  }
}
