import { UnavailableError } from "../../pipeline/errors.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { Shard } from "../../pipeline/runtime/shard.ts";
import type { ShardEvents, ShardHandle, ShardHost } from "../../pipeline/runtime/shard_host.ts";
import type { ShardTask } from "../../pipeline/runtime/shard_task.ts";
import type { Random } from "./random.ts";
import type { SimProcess } from "./sim_process.ts";
import { SCHEMAS, type SourcePartition } from "./source_log.ts";

const RETRY_MS = 100;
/** Batches of one partition in an answer. */
const BATCHES_MAX = 4;

/** Runs shards of a process and fetches for them. */
export class SimShardHost implements ShardHost {
  readonly #source: readonly SourcePartition[];
  readonly #process: SimProcess;
  readonly #random: Random;

  constructor(source: readonly SourcePartition[], process: SimProcess, random: Random) {
    this.#source = source;
    this.#process = process;
    this.#random = random;
  }

  async open(task: ShardTask, events: ShardEvents): Promise<ShardHandle> {
    await this.#process.point("opens a shard");
    const stop = new AbortController();
    const { clock } = this.#process;
    const shard = new Shard(task, {
      clock,
      onFull: events.onFull,
      schemaById: (id) => this.#schemaById(id, stop.signal),
    });
    let paused: readonly number[] = [];
    this.#read(shard, () => paused, stop.signal).catch((error) => {
      if (!stop.signal.aborted) events.onFailed(error);
    });
    return {
      flush: async (request) => {
        await this.#process.point("flushes a shard");
        paused = request.paused;
        return shard.flush(request.raises);
      },
      close: async () => {
        stop.abort(new UnavailableError("The shard was closed"));
        shard.close();
        await this.#process.point("closes a shard");
      },
    };
  }

  async #read(shard: Shard, paused: () => readonly number[], signal: AbortSignal): Promise<void> {
    const { clock } = this.#process;
    while (!signal.aborted) {
      for (const partition of shard.partitions) {
        if (signal.aborted || paused().includes(partition)) continue;
        const batches = this.#random.int(1, BATCHES_MAX);
        const position = shard.positionOf(partition);
        try {
          const part = await this.#process.call(
            "kafka",
            `for records of ${partition} from ${position}`,
            () => this.#source[partition].fetch(partition, position, batches),
            signal,
          );
          await shard.take(part);
        } catch (error) {
          if (signal.aborted) return;
          if (!(error instanceof UnavailableError)) throw error;
          await clock.sleep(RETRY_MS, signal);
        }
      }
      await clock.sleep(this.#random.int(10, 120), signal);
    }
  }

  async #schemaById(id: number, signal: AbortSignal): Promise<AvroSchema | null> {
    for (;;) {
      try {
        return await this.#process.call("registry", `for schema ${id}`, () => SCHEMAS[id] ?? null, signal);
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        await this.#process.clock.sleep(RETRY_MS, signal);
      }
    }
  }
}
