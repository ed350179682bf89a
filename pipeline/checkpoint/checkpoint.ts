/**
 * What a pipeline needs to go on as if it had never stopped: where it is in each partition, the watermarks, what became of
 * the records, and the open panes, all of the same moment.
 *
 *     magic "TRCP" | version uint32 | header length uint32 | header (JSON) | padding to 8
 *     | arrays, each padded to 8, in the header's order | CRC-32C of all before, uint32
 *
 * all little-endian.
 *
 * @module
 */
import type { StateArray } from "../aggregates/aggregate.ts";
import { crc32c } from "../log/crc32c.ts";
import type { PaneBatch } from "../operators/panes.ts";
import type { Buckets } from "../ledger.ts";
import type { SinkPosition } from "../sinks/sink.ts";
import type { Sample } from "./history.ts";

/** How far one partition is accounted for. */
export interface PartitionCheckpoint {
  readonly partition: number;
  /** Where reading began. */
  readonly start: number;
  /** The next offset to read. */
  readonly position: number;
  /** Largest event time seen; null before the first record. */
  readonly maxEventTimeMs: number | null;
  /** What the watermark was raised to while the partition was idle; null if never. */
  readonly raisedToMs: number | null;
  readonly buckets: Buckets;
  /** Records that came back, so that none counts twice. */
  readonly redriven: readonly Redriven[];
  /**
   * Where idle decisions were made that a rewind went back behind: they are made there again, so that each record is judged as
   * it was.
   */
  readonly ahead?: readonly Sample[];
  /** What was computed before and is computed again; null where nothing is. */
  readonly rewound?: Rewound | null;
}

/** A stretch `[from, to)` of a partition that was computed before; its letters are of that time. */
export interface Rewound {
  readonly from: number;
  readonly to: number;
  /** The offsets that were set aside this time, as ranges `[from, to)`, in order. */
  readonly aside: readonly (readonly [from: number, to: number])[];
  /** More were set aside than are remembered: of offsets after the last range nothing is known. */
  readonly isFull: boolean;
}

/** A late record or dead letter that was written to its topic again and counted. */
export interface Redriven {
  /** Offset of the original, in the same partition. */
  readonly source: number;
  /** Offset of the record that came back. */
  readonly offset: number;
  /** The window it counts in, milliseconds since the epoch. */
  readonly windowStartMs: number;
}

/** The panes of one window. */
export interface SavedPanes extends PaneBatch {
  /** Rows that changed since they were last published. */
  readonly unpublished: Int32Array;
}

export interface Checkpoint {
  /** The plan's; state of another plan is not taken up. */
  readonly fingerprint: string;
  /** How often the pipeline was rewound; goes into every revision, so that a new computation replaces the one before. */
  readonly generation: number;
  /** Windows that start before this belong to an earlier computation and stay as they are; null: none do. */
  readonly floorMs: number | null;
  /**
   * Windows that end at or before this had final results when the pipeline was rewound: they are replaced by final ones only, so
   * that nobody sees them grow again. Null: there are none.
   */
  readonly finalBeforeMs: number | null;
  /** Kafka's id of the topic (a UUID), so that one made anew under the same name is told apart; null where brokers have none. */
  readonly topicId: string | null;
  readonly epoch: number;
  readonly savedAtMs: number;
  /** What the sinks asked to be kept. */
  readonly sinks: { readonly results: SinkPosition; readonly setAside: SinkPosition };
  readonly partitions: readonly PartitionCheckpoint[];
  readonly panes: readonly SavedPanes[];
}

/** Where checkpoints are kept. */
export interface CheckpointStore {
  /** The last one saved, null when there is none. @throws ConfigError when it is there and cannot be read */
  load(pipeline: string): Promise<Checkpoint | null>;
  /** Resolves when it is durable. @throws UnavailableError when it cannot be stored now */
  save(pipeline: string, checkpoint: Checkpoint): Promise<void>;
}

const MAGIC = 0x50435254; // "TRCP"
const VERSION = 2;

const ARRAYS = { Float64Array, Int32Array, Uint8Array, BigInt64Array };
type ArrayName = keyof typeof ARRAYS;

/** Of a pane batch all but its arrays. */
interface BatchShape {
  readonly length: number;
  /** How many state arrays each accumulator has. */
  readonly states: readonly number[];
}

interface Header extends Omit<Checkpoint, "panes"> {
  readonly panes: readonly BatchShape[];
  readonly arrays: readonly { readonly type: ArrayName; readonly bytes: number }[];
}

/** A checkpoint as bytes. */
export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array<ArrayBuffer> {
  const arrays = checkpoint.panes.flatMap((batch): StateArray[] => [
    batch.keys,
    batch.keyEnds,
    batch.hashes,
    batch.windows,
    batch.counts,
    batch.unpublished,
    ...batch.states.flat(),
  ]);
  const header: Header = {
    ...checkpoint,
    panes: checkpoint.panes.map(({ length, states }) => ({ length, states: states.map((list) => list.length) })),
    arrays: arrays.map((array) => ({ type: array.constructor.name as ArrayName, bytes: array.byteLength })),
  };
  const head = new TextEncoder().encode(JSON.stringify(header));
  const size = padded(12 + head.length) + arrays.reduce((sum, array) => sum + padded(array.byteLength), 0) + 4;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, head.length, true);
  bytes.set(head, 12);
  let at = padded(12 + head.length);
  for (const array of arrays) {
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    at += padded(array.byteLength);
  }
  view.setUint32(at, crc32c(bytes, 0, at), true);
  return bytes;
}

/** What `encodeCheckpoint` made; throws when the bytes are damaged or of another version. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 20 || view.getUint32(0, true) !== MAGIC) throw new Error("it is not a checkpoint");
  if (view.getUint32(4, true) !== VERSION) {
    throw new Error(`it has format ${view.getUint32(4, true)}, this version reads ${VERSION}`);
  }
  if (crc32c(bytes, 0, bytes.length - 4) !== view.getUint32(bytes.length - 4, true)) {
    throw new Error("its checksum does not fit");
  }
  const headLength = view.getUint32(8, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(12, 12 + headLength))) as Header;
  let at = padded(12 + headLength);
  const arrays = header.arrays.map(({ type, bytes: length }) => {
    const copy = bytes.slice(at, at + length);
    at += padded(length);
    return new ARRAYS[type](copy.buffer);
  });
  let taken = 0;
  const next = <T extends StateArray>() => arrays[taken++] as T;
  const { arrays: _, panes, ...rest } = header;
  return {
    ...rest,
    panes: panes.map(({ length, states }) => ({
      length,
      keys: next<Uint8Array>(),
      keyEnds: next<Int32Array>(),
      hashes: next<Int32Array>(),
      windows: next<Float64Array>(),
      counts: next<Float64Array>(),
      unpublished: next<Int32Array>(),
      states: states.map((count) => Array.from({ length: count }, () => next())),
    })),
  };
}

function padded(bytes: number): number {
  return (bytes + 7) & ~7;
}
