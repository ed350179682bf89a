/**
 * The producer's record of what the broker acknowledged, one line of JSON each, on disk before anything else is sent:
 *
 *     {"topic":"faults","partition":2,"offset":17,"n":40,"record":{...}}
 *
 * @module
 */
import type { MadeRecord } from "./records.ts";

export class Acknowledged implements Disposable {
  readonly path: string;
  readonly #file: Deno.FsFile;
  /** By partition, the number of the record at each acknowledged offset. */
  readonly #offsets = new Map<number, Map<number, number>>();
  count = 0;

  constructor(path: string) {
    this.path = path;
    this.#file = Deno.openSync(path, { create: true, append: true });
  }

  /** Records that are in one partition one after the other, from `baseOffset` on. */
  async note(topic: string, baseOffset: number, records: readonly MadeRecord[]): Promise<void> {
    const lines = records.map(({ n, partition, nature, transaction }, i) =>
      `${JSON.stringify({ topic, partition, offset: baseOffset + i, n, record: transaction ?? { nature } })}\n`
    );
    const bytes = new TextEncoder().encode(lines.join(""));
    for (let written = 0; written < bytes.length;) written += await this.#file.write(bytes.subarray(written));
    await this.#file.syncData();
    for (const [i, { n, partition }] of records.entries()) {
      const offsets = this.#offsets.get(partition) ?? new Map<number, number>();
      this.#offsets.set(partition, offsets.set(baseOffset + i, n));
    }
    this.count += records.length;
  }

  /** Takes note that a record was read back. */
  found(partition: number, offset: number, n: number): "as acknowledged" | "another" | "not acknowledged" {
    const known = this.#offsets.get(partition)?.get(offset);
    if (known === undefined) return "not acknowledged";
    if (known !== n) return "another";
    this.#offsets.get(partition)!.delete(offset);
    return "as acknowledged";
  }

  /** What was acknowledged and has not been found. */
  missing(): { partition: number; offset: number; n: number }[] {
    return [...this.#offsets].flatMap(([partition, offsets]) =>
      Array.from(offsets, ([offset, n]) => ({ partition, offset, n }))
    );
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}
