/**
 * Avro object container files (Avro specification 1.12, "Object Container Files"), read as they arrive:
 *
 *     "Obj" 0x01 | map: avro.schema, avro.codec, .. | sync, 16 bytes |
 *     blocks:  count, long | size, long | `size` bytes, perhaps deflated: `count` values | sync, 16 bytes
 *
 * @module
 */
import { inflateRawSync } from "node:zlib";
import type { AvroSchema } from "../plan/plan.ts";
import { BulkRefusal } from "./bulk.ts";
import { PulledBytes, unreadable } from "./pulled_bytes.ts";

const MAGIC = [0x4f, 0x62, 0x6a, 0x01];
const SYNC_BYTES = 16;
const HEADER_BYTES_MAX = 1024 * 1024;
const HEADER_ENTRIES_MAX = 1_000;
/** Of a block, as it is sent and unpacked; writers make them of 16 to 64 KiB. */
export const BLOCK_BYTES_MAX = 16 * 1024 * 1024;

export interface ContainerHeader {
  /** What the values were written with. */
  readonly schema: AvroSchema;
  readonly codec: "null" | "deflate";
}

export interface ContainerBlock {
  /** Values that it says it has. */
  readonly count: number;
  /** Unpacked; valid until the next block. */
  readonly bytes: Uint8Array;
}

/** Reads a container's header, then its blocks. @throws BulkRefusal where it is none */
export class ContainerReader {
  readonly #bytes: PulledBytes;
  #sync = new Uint8Array();
  #codec: ContainerHeader["codec"] = "null";

  constructor(chunks: AsyncIterator<Uint8Array>) {
    this.#bytes = new PulledBytes(chunks);
  }

  async header(): Promise<ContainerHeader> {
    const magic = await this.#bytes.take(MAGIC.length, "its first four bytes");
    if (MAGIC.some((byte, i) => magic[i] !== byte)) {
      throw unreadable("does not begin as an Avro object container file does");
    }
    const meta = await this.#meta();
    this.#sync = (await this.#bytes.take(SYNC_BYTES, "the header")).slice();
    const codec = meta.get("avro.codec") ?? "null";
    if (codec !== "null" && codec !== "deflate") {
      throw unreadable(`is packed with ${JSON.stringify(codec.slice(0, 40))}: null and deflate can be read`);
    }
    this.#codec = codec;
    const schema = meta.get("avro.schema");
    if (schema === undefined) throw unreadable("has no avro.schema in its header");
    try {
      return { schema: JSON.parse(schema) as AvroSchema, codec };
    } catch {
      throw unreadable("has an avro.schema that is not JSON");
    }
  }

  async *blocks(unpackedBytesMax: number): AsyncGenerator<ContainerBlock> {
    let unpacked = 0;
    while (!await this.#bytes.isAtEnd()) {
      const count = await this.#bytes.long("a block's count");
      const size = await this.#bytes.long("a block's size");
      if (count < 0 || size < 0 || size > BLOCK_BYTES_MAX) {
        throw unreadable(`has a block of ${count} records in ${size} bytes: ${BLOCK_BYTES_MAX} bytes at most`);
      }
      // Looked at together: what was taken before is overwritten by what is taken next.
      const whole = await this.#bytes.take(size + SYNC_BYTES, "a block");
      if (this.#sync.some((byte, i) => whole[size + i] !== byte)) {
        throw unreadable("has a block without its sync marker");
      }
      const bytes = this.#unpack(whole.subarray(0, size));
      unpacked += bytes.length;
      if (unpacked > unpackedBytesMax) {
        throw new BulkRefusal({ kind: "too large", problem: `at most ${unpackedBytesMax} bytes, unpacked` });
      }
      yield { count, bytes };
    }
  }

  #unpack(bytes: Uint8Array): Uint8Array {
    if (this.#codec === "null") return bytes;
    try {
      return inflateRawSync(bytes, { maxOutputLength: BLOCK_BYTES_MAX });
    } catch (error) {
      const isBomb = (error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
      if (!isBomb) throw unreadable("has a block that is not deflated");
      throw new BulkRefusal({ kind: "too large", problem: `a block of more than ${BLOCK_BYTES_MAX} bytes, unpacked` });
    }
  }

  async #meta(): Promise<Map<string, string>> {
    const meta = new Map<string, string>();
    const text = new TextDecoder();
    let left = HEADER_BYTES_MAX;
    let entries = HEADER_ENTRIES_MAX;
    const take = async (): Promise<string> => {
      const length = await this.#bytes.long("the header");
      if (length < 0 || (left -= length) < 0) throw unreadable(`has a header of more than ${HEADER_BYTES_MAX} bytes`);
      return text.decode(await this.#bytes.take(length, "the header"));
    };
    for (;;) {
      let count = await this.#bytes.long("the header");
      if (count === 0) return meta;
      if (count < 0) {
        count = -count;
        await this.#bytes.long("the header"); // the block's size
      }
      if ((entries -= count) < 0) throw unreadable(`has a header of more than ${HEADER_ENTRIES_MAX} entries`);
      for (; count > 0; count--) {
        const name = await take();
        meta.set(name, await take());
      }
    }
  }
}
