/**
 * Fan-out of fresh result rows to any number of readers over server-sent events.
 *
 *     publish ──▶ ring of events (by reference) ──▶ each client pulls from its own place in the ring
 *
 * There is one buffer, the ring, whatever the number of clients: a client is a position in it, and is given one event each time
 * it has taken the last. Nothing is serialised until a client asks for it, then once for all of them. A client whose next event
 * leaves the ring before it was sent is dropped: its stream ends, and a browser then comes back with its Last-Event-ID.
 *
 * On the wire an event is
 *
 *     id: 5f0c2a91-1207            run of the process, number of the event
 *     data: {"pipeline":"account_minute","rows":[{...},...]}
 *
 * and `event: reset` with `data: {"reason":"..."}` tells a client that resumed that it has missed rows: read them over REST.
 *
 * @module
 */
import type { Clock } from "../pipeline/clock.ts";
import type { ResultRows } from "../pipeline/sinks/sink.ts";
import { rowToJson } from "./result_json.ts";

export interface LiveHubOptions {
  /** Rows the ring holds for clients that lag or resume; the newest batch is kept whole even if larger. */
  readonly ringRowsMax?: number;
  /** Serialised bytes the ring holds. */
  readonly ringBytesMax?: number;
  /** Open streams; one more is refused. */
  readonly clientsMax?: number;
  /** Rows in one event, so that a batch of a million rows is not one line. */
  readonly eventRowsMax?: number;
  /** A comment is sent this often, so that proxies keep the connection and dead ones are noticed. */
  readonly heartbeatMs?: number;
  /** A client that took nothing for this many heartbeats is dropped. */
  readonly stalledBeatsMax?: number;
  /** Names this process run inside event ids; random unless given. */
  readonly runId?: string;
}

export interface LiveStats {
  readonly clients: number;
  /** Clients closed because they did not read, since the start. */
  readonly dropped: number;
  readonly ringRows: number;
  readonly ringBytes: number;
  /** Number of the newest event. */
  readonly events: number;
}

export interface LiveClientOptions {
  /** Only this pipeline's rows; all when absent. */
  readonly pipeline?: string;
  /** The `Last-Event-ID` of an earlier stream, to go on after it. */
  readonly lastEventId?: string;
}

export interface LiveHub {
  /** Adds a batch; keeps a reference to `rows`, which must not change afterwards. Costs nothing per row. */
  publish(pipeline: string, rows: ResultRows): void;
  /** The body of an SSE response, or null when `clientsMax` streams are open or the hub is closed. */
  connect(options?: LiveClientOptions): ReadableStream<Uint8Array> | null;
  stats(): LiveStats;
  /** Ends every stream. */
  close(): void;
}

interface LiveEvent {
  readonly pipeline: string;
  /** Which publish it belongs to. */
  readonly batch: number;
  readonly rowCount: number;
  /** The rows until they are first asked for, then their bytes. */
  rows: ResultRows | null;
  readonly fromRow: number;
  bytes: Uint8Array | null;
}

interface Client {
  readonly pipeline: string | null;
  controller: ReadableStreamDefaultController<Uint8Array>;
  /** Number of the next event to look at. */
  next: number;
  /** It has taken all it was given and waits. */
  waits: boolean;
  /** Heartbeats since it last took something. */
  stalledBeats: number;
}

const encoder = new TextEncoder();
const HEARTBEAT = encoder.encode(": heartbeat\n\n");
const RETRY_MS = 1000;

/** Makes a hub; heartbeats run on `clock` while at least one client is connected. */
export function createLiveHub(options: LiveHubOptions, clock: Clock): LiveHub {
  const ringRowsMax = options.ringRowsMax ?? 100_000;
  const ringBytesMax = options.ringBytesMax ?? 32 * 1024 * 1024;
  const clientsMax = options.clientsMax ?? 256;
  const eventRowsMax = options.eventRowsMax ?? 500;
  const heartbeatMs = options.heartbeatMs ?? 15_000;
  const stalledBeatsMax = options.stalledBeatsMax ?? 4;
  const run = options.runId ?? crypto.randomUUID().slice(0, 8);

  /** Events `first .. first + size - 1`, in order, from `ring[head]` on. */
  let ring: LiveEvent[] = [];
  let head = 0;
  let first = 1;
  let batch = 0;
  let ringRows = 0;
  let ringBytes = 0;
  let dropped = 0;
  let closed = false;
  /** Number of the newest event of each pipeline that has left the ring: what tells a gap from a quiet pipeline. */
  const lastEvicted = new Map<string, number>();
  const clients = new Set<Client>();
  let beating: AbortController | null = null;

  const newest = () => first + (ring.length - head) - 1;
  const eventId = (number: number) => `${run}-${number}`;
  const wants = (client: Client, event: LiveEvent) => client.pipeline === null || client.pipeline === event.pipeline;

  function publish(pipeline: string, rows: ResultRows): void {
    if (closed || rows.length === 0) return;
    batch++;
    for (let fromRow = 0; fromRow < rows.length; fromRow += eventRowsMax) {
      const rowCount = Math.min(eventRowsMax, rows.length - fromRow);
      ring.push({ pipeline, batch, rowCount, rows, fromRow, bytes: null });
      ringRows += rowCount;
    }
    while (ringRows > ringRowsMax && ring[head].batch !== batch) evict();
    for (const client of clients) send(client);
  }

  function evict(): void {
    const event = ring[head];
    const number = first;
    for (const client of clients) {
      if (client.next <= number && wants(client, event)) drop(client);
    }
    lastEvicted.set(event.pipeline, number);
    ringRows -= event.rowCount;
    ringBytes -= event.bytes?.length ?? 0;
    ring[head] = undefined as unknown as LiveEvent; // let go of the rows now; the slot goes with the next compaction
    head++;
    first++;
    if (head > 1024 && head * 2 > ring.length) {
      ring = ring.slice(head);
      head = 0;
    }
  }

  function bytesOf(number: number): Uint8Array {
    const event = ring[head + number - first];
    if (event.bytes !== null) return event.bytes;
    const { columns, values } = event.rows!;
    const rows = [];
    for (let r = event.fromRow; r < event.fromRow + event.rowCount; r++) rows.push(rowToJson(columns, values, r));
    const data = JSON.stringify({ pipeline: event.pipeline, rows });
    const bytes = encoder.encode(`id: ${eventId(number)}\ndata: ${data}\n\n`);
    event.bytes = bytes;
    event.rows = null;
    ringBytes += bytes.length;
    return bytes;
  }

  /** Gives a waiting client its next event, if there is one. */
  function send(client: Client): void {
    if (client.next < first) client.next = first; // what left the ring unread was of other pipelines
    while (client.waits && client.next <= newest()) {
      const number = client.next++;
      if (wants(client, ring[head + number - first])) give(client, bytesOf(number));
    }
    while (ringBytes > ringBytesMax && head < ring.length - 1) evict();
  }

  function give(client: Client, bytes: Uint8Array): void {
    client.waits = false;
    client.controller.enqueue(bytes);
  }

  function connect({ pipeline, lastEventId }: LiveClientOptions = {}): ReadableStream<Uint8Array> | null {
    if (closed || clients.size >= clientsMax) return null;
    let client: Client;
    return new ReadableStream<Uint8Array>({
      start(controller) {
        const { next, greeting } = resume(pipeline ?? null, lastEventId);
        client = { pipeline: pipeline ?? null, controller, next, waits: false, stalledBeats: 0 };
        clients.add(client);
        controller.enqueue(encoder.encode(greeting));
        startBeating();
      },
      // With no room of its own, the stream calls this each time the other side wants more, and only then.
      pull() {
        client.waits = true;
        client.stalledBeats = 0;
        if (clients.has(client)) send(client);
      },
      cancel: () => forget(client),
    }, { highWaterMark: 0 });
  }

  /** Where a client starts, and the first thing it is sent. */
  function resume(pipeline: string | null, lastEventId: string | undefined): { next: number; greeting: string } {
    const now = newest();
    const retry = `retry: ${RETRY_MS}\n`;
    // An id without data moves the browser's Last-Event-ID, so a stream cut before its first row resumes here too.
    if (lastEventId === undefined || lastEventId === "") {
      return { next: now + 1, greeting: `${retry}id: ${eventId(now)}\n\n` };
    }
    const reason = whyNotResumable(pipeline, lastEventId, now);
    if (reason === null) return { next: Number(lastEventId.slice(run.length + 1)) + 1, greeting: `${retry}\n` };
    const data = JSON.stringify({ reason });
    return { next: now + 1, greeting: `${retry}event: reset\nid: ${eventId(now)}\ndata: ${data}\n\n` };
  }

  function whyNotResumable(pipeline: string | null, lastEventId: string, now: number): string | null {
    if (!/^.{1,64}-\d{1,15}$/.test(lastEventId)) return "the Last-Event-ID is not one of ours";
    if (!lastEventId.startsWith(`${run}-`)) return "the server was restarted since that event";
    const number = Number(lastEventId.slice(run.length + 1));
    if (Number.isNaN(number) || number > now) return "the Last-Event-ID is not one of ours";
    const missed = pipeline === null ? first - 1 : lastEvicted.get(pipeline) ?? 0;
    return missed > number ? "rows published since that event are no longer held here" : null;
  }

  function forget(client: Client): void {
    clients.delete(client);
    if (clients.size === 0) {
      beating?.abort();
      beating = null;
    }
  }

  function drop(client: Client): void {
    forget(client);
    dropped++;
    // close(), not error(): the server would print the error as if it were a fault of ours.
    client.controller.close();
  }

  function startBeating(): void {
    if (beating !== null) return;
    beating = new AbortController();
    void beat(beating.signal);
  }

  async function beat(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await clock.sleep(heartbeatMs, signal);
      } catch {
        return; // aborted: the last client left
      }
      for (const client of clients) {
        if (client.waits) give(client, HEARTBEAT);
        else if (++client.stalledBeats >= stalledBeatsMax) drop(client);
      }
    }
  }

  return {
    publish,
    connect,
    stats: () => ({ clients: clients.size, dropped, ringRows, ringBytes, events: newest() }),
    close() {
      closed = true;
      for (const client of [...clients]) {
        forget(client);
        client.controller.close();
      }
      ring = [];
      head = ringRows = ringBytes = 0;
    },
  };
}
