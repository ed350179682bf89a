import { setAsideTopics } from "../../pipeline/sinks/set_aside.ts";
import type { TestRecord } from "../log/batches.ts";
import type { Random } from "./random.ts";
import { encodeEvent, type Event, type SourcePartition, type Told } from "./source_log.ts";
import type { World } from "./world.ts";

export interface WorkloadOptions {
  readonly topic: string;
  readonly pipeline: string;
  readonly windowMs: number;
  /** How long records are written. */
  readonly spanMs: number;
}

const utf8 = new TextEncoder();

/** Writes records of every kind to the partitions as time passes, and writes again what was set aside. */
export class Workload {
  readonly #world: World;
  readonly #random: Random;
  readonly #source: readonly SourcePartition[];
  readonly #options: WorkloadOptions;
  /** Event time less the world's time: the stream is live, or a past that is replayed. */
  readonly #shiftMs: number;
  readonly #ids: string[];
  #nextId = 0;
  /** Records on their way back. */
  pending = 0;

  constructor(world: World, source: readonly SourcePartition[], options: WorkloadOptions) {
    this.#world = world;
    this.#random = world.random.fork();
    this.#source = source;
    this.#options = options;
    this.#shiftMs = this.#random.pick([0, 0, -300_000]);
    this.#ids = [];
  }

  start(): void {
    this.#source.forEach((_, partition) => {
      const pace = this.#random.int(80, 700);
      this.#writeOn(partition, pace);
    });
  }

  /** What was set aside comes back, once in a while, perhaps mended, perhaps twice. */
  setAside(topic: string, record: TestRecord): void {
    const random = this.#random;
    if (!random.chance(0.35) || this.#world.clock.now > this.#options.spanMs + START_MS) return;
    const text = (name: string) => {
      const value = record.headers.findLast(([known]) => known === name)?.[1];
      return value ? new TextDecoder().decode(value) : null;
    };
    const partition = Number(text("__connect.errors.partition"));
    const original = this.#source[partition].told[Number(text("__connect.errors.offset"))];
    const source = original.back?.source ?? Number(text("__connect.errors.offset"));
    const attempt = Number(text("tailrace.redrive.attempt") ?? 0) + 1;
    if (attempt > 3) return;
    const isLate = topic === setAsideTopics(this.#options.topic).late;
    const isMended = !isLate && random.chance(0.7);
    const event = isMended ? this.#event() : original.event;
    const pipeline = random.pick([this.#options.pipeline, this.#options.pipeline, null, "another"]);
    const value = isMended ? encodeEvent(event!) : original.record.value;
    const times = random.chance(0.25) ? 2 : 1;
    for (let i = 0; i < times; i++) {
      this.pending++;
      this.#world.clock.after(random.int(1, 1_500), () => {
        this.pending--;
        this.#append(partition, [{
          event,
          isTombstone: value === null,
          back: { source, pipeline },
          record: {
            ...original.record,
            value,
            timestampMs: this.#world.clock.now,
            headers: [
              ["tailrace.redrive.offset", utf8.encode(String(source))],
              ["tailrace.redrive.attempt", utf8.encode(String(attempt))],
              ...(pipeline === null ? [] : [["tailrace.redrive.pipeline", utf8.encode(pipeline)] as const]),
            ],
          },
        }]);
      });
    }
  }

  #writeOn(partition: number, paceMs: number): void {
    const random = this.#random;
    // Now and then a partition has nothing to say for a while; and then, perhaps, what was held back.
    const isSilent = random.chance(0.08);
    const pauseMs = isSilent ? random.int(800, 3_000) : random.int(1, 2 * paceMs);
    const heldMs = isSilent && random.chance(0.6) ? pauseMs : 0;
    this.#world.clock.after(pauseMs, () => {
      if (this.#world.clock.now > START_MS + this.#options.spanMs) return;
      this.#append(partition, Array.from({ length: random.int(1, 4) }, () => this.#told(heldMs)));
      this.#writeOn(partition, paceMs);
    });
  }

  #append(partition: number, told: readonly Told[]): void {
    this.#source[partition].append(told, this.#random.chance(0.2));
    this.#world.note("producer", `${partition} to ${this.#source[partition].end}`);
  }

  #told(heldMs: number): Told {
    const random = this.#random;
    const event = this.#event(heldMs);
    const told = (event: Event | null, value: Uint8Array | null): Told => ({
      event,
      isTombstone: value === null,
      back: null,
      record: { timestampMs: this.#world.clock.now, key: utf8.encode("k"), value, headers: [] },
    });
    if (random.chance(0.9)) return told(event, encodeEvent(event));
    const good = encodeEvent(event);
    return random.pick([
      () => told(null, null),
      () => told(null, utf8.encode("no frame")),
      () => told(null, good.slice(0, -random.int(1, 3))),
      () => told(null, Uint8Array.of(0, 0, 0, 0, 9, 1, 2)),
      () => told(null, Uint8Array.of(0, 0, 0, 0, 2, ...good.slice(5))),
      () => told({ ...event, at: null }, encodeEvent({ ...event, at: null })),
      () => {
        const ahead = { ...event, at: this.#world.clock.now + 2 * 86_400_000 };
        return told(ahead, encodeEvent(ahead));
      },
    ])();
  }

  #event(heldMs = 0): Event {
    const random = this.#random;
    const { windowMs } = this.#options;
    const behindMs = heldMs > 0
      ? random.int(0, heldMs)
      : random.chance(0.12)
      ? random.int(windowMs, 4 * windowMs)
      : random.int(0, windowMs / 2);
    return {
      k: random.pick(["a", "b", "c"]),
      v: random.int(0, 99),
      at: this.#world.clock.now + this.#shiftMs - behindMs,
      id: this.#id(),
    };
  }

  /** Mostly a new one; sometimes that of an earlier record. */
  #id(): string | null {
    const random = this.#random;
    if (random.chance(0.1)) return null;
    if (this.#ids.length > 0 && random.chance(0.25)) return random.pick(this.#ids.slice(-8));
    const id = `id-${this.#nextId++}`;
    this.#ids.push(id);
    return id;
  }
}

/** When a simulation begins, by its own clock. */
export const START_MS = 1_000_000;
