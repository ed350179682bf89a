import { RawClient, recordBatch, type TestBroker } from "./support.ts";

/** A transactional producer that sends single requests and shows their errors. */
export class TransactionClient implements Disposable {
  readonly client: RawClient;
  readonly id: string;
  producerId = -1;
  epoch = -1;
  readonly #sequences = new Map<string, number>();

  private constructor(client: RawClient, id: string) {
    this.client = client;
    this.id = id;
  }

  static async open(broker: TestBroker, id: string): Promise<TransactionClient> {
    return new TransactionClient(await RawClient.open(broker), id);
  }

  /** InitProducerId (version 4, or 1 without what is expected). Takes over what is answered, unless that is an error. */
  async initialize({ expected = false, timeoutMs = 60_000, version = 4 } = {}): Promise<number> {
    const answer = await this.client.request(22, version, (w) => {
      if (version >= 2) w.int8(0).compactString(this.id);
      else w.string(this.id);
      w.int32(timeoutMs);
      if (version >= 3) w.int64(expected ? this.producerId : -1).int16(expected ? this.epoch : -1);
      if (version >= 2) w.int8(0);
    });
    if (version >= 2) answer.int8();
    answer.int32();
    const error = answer.int16();
    if (error !== 0) return error;
    this.producerId = answer.int64();
    this.epoch = answer.int16();
    this.#sequences.clear();
    return 0;
  }

  /** AddPartitionsToTxn (version 2). Returns the errors in the order of the partitions. */
  async addPartitions(topic: string, partitions: readonly number[]): Promise<number[]> {
    const answer = await this.client.request(24, 2, (w) => {
      w.string(this.id).int64(this.producerId).int16(this.epoch).arrayLength(1).string(topic);
      w.arrayLength(partitions.length);
      for (const partition of partitions) w.int32(partition);
    });
    answer.skip(8);
    answer.string();
    return Array.from({ length: answer.arrayLength() }, () => (answer.int32(), answer.int16()));
  }

  async produce(topic: string, partition: number, values: readonly string[], acks = -1): Promise<number> {
    const { producerId, epoch: producerEpoch } = this;
    const place = `${topic}/${partition}`;
    const baseSequence = this.#sequences.get(place) ?? 0;
    const batch = recordBatch(values, { producerId, producerEpoch, baseSequence, transactional: true });
    const { error } = await this.client.produce(topic, batch, acks, { partition, transactionalId: this.id });
    if (error === 0) this.#sequences.set(place, baseSequence + values.length);
    return error;
  }

  /** AddOffsetsToTxn (version 2). */
  async addOffsets(group: string): Promise<number> {
    const answer = await this.client.request(25, 2, (w) => {
      w.string(this.id).int64(this.producerId).int16(this.epoch).string(group);
    });
    answer.int32();
    return answer.int16();
  }

  /** TxnOffsetCommit (version 2) of one offset. */
  async commitOffset(group: string, topic: string, partition: number, offset: number): Promise<number> {
    const answer = await this.client.request(28, 2, (w) => {
      w.string(this.id).string(group).int64(this.producerId).int16(this.epoch).arrayLength(1).string(topic);
      w.arrayLength(1).int32(partition).int64(offset).int32(-1).string(null);
    });
    answer.skip(8);
    answer.string();
    answer.skip(8);
    return answer.int16();
  }

  /** EndTxn (version 2, or an older one). */
  async end(commit: boolean, version = 2): Promise<number> {
    const answer = await this.client.request(26, version, (w) => {
      w.string(this.id).int64(this.producerId).int16(this.epoch).boolean(commit);
    });
    answer.int32();
    return answer.int16();
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }
}

/** The offset a group has committed (OffsetFetch version 7), or the error in its place as a negative number below −1. */
export async function committedOffset(
  client: RawClient,
  group: string,
  place: { topic: string; partition: number; stable?: boolean },
): Promise<number> {
  const { topic, partition, stable = false } = place;
  const answer = await client.request(9, 7, (w) => {
    w.int8(0).compactString(group).compactArrayLength(1).compactString(topic).compactArrayLength(1).int32(partition);
    w.int8(0).boolean(stable).int8(0);
  });
  answer.skip(5);
  answer.compactArrayLength();
  answer.compactString();
  answer.compactArrayLength();
  answer.int32();
  const offset = answer.int64();
  answer.int32();
  answer.compactNullableString();
  const error = answer.int16();
  return error === 0 ? offset : -error;
}
