/**
 * The topics and where they are. `topics.json` in the data folder names them all; it is replaced in one step with every change.
 *
 *     <data>/topics.json
 *     <data>/topics/<name>.<id>/<partition>/00000000000000000000.log ...
 *
 * A folder carries the topic's id, so a topic deleted and created again never meets its old records. Folders that topics.json does
 * not name are left over from a deletion cut short and are removed at start.
 *
 * @module
 */
import type { ResolvedOptions } from "./options.ts";
import { readIfPresent, replaceFile } from "./durable_file.ts";
import type { FilePool } from "./log/file_pool.ts";
import { PartitionLog } from "./log/partition_log.ts";
import { logSettings, type TopicConfig, type TopicSettings } from "./topic_config.ts";

export type { TopicConfig } from "./topic_config.ts";

export interface Topic {
  readonly name: string;
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly partitions: PartitionLog[];
  config: TopicConfig;
  /** What follows from `config` and the broker's defaults. */
  settings: TopicSettings;
}

/** The content of topics.json. */
interface Saved {
  readonly clusterId: string;
  readonly topics: readonly { name: string; id: string; partitions: number; config: TopicConfig }[];
}

/** Kafka's rule for names. */
export function isTopicName(name: string): boolean {
  return /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== "." && name !== "..";
}

export class Topics {
  readonly clusterId: string;
  readonly #options: ResolvedOptions;
  readonly #files: FilePool;
  readonly #byName = new Map<string, Topic>();
  readonly #byId = new Map<string, Topic>();
  #partitionCount = 0;

  /** Opens all partitions; what a crash left unfinished is cut off and logged. */
  constructor(options: ResolvedOptions, files: FilePool) {
    this.#options = options;
    this.#files = files;
    Deno.mkdirSync(`${options.dataDir}/topics`, { recursive: true });
    const text = readIfPresent(this.#path);
    const saved: Saved = text === null ? { clusterId: newId(), topics: [] } : parse(text, this.#path);
    this.clusterId = saved.clusterId;
    for (const { name, id, config, partitions } of saved.topics) {
      this.#open(this.#topic(name, id, config), partitions);
    }
    if (text === null) this.#save();
    this.#removeLeftovers();
  }

  all(): Topic[] {
    return [...this.#byName.values()];
  }

  get(name: string): Topic | null {
    return this.#byName.get(name) ?? null;
  }

  nameOf(id: string): string | null {
    return this.#byId.get(id)?.name ?? null;
  }

  partition(name: string, index: number): PartitionLog | null {
    return this.#byName.get(name)?.partitions[index] ?? null;
  }

  partitionById(id: string, index: number): PartitionLog | null {
    return this.#byId.get(id)?.partitions[index] ?? null;
  }

  /** Whether `partitions` more would be too many. */
  isFull(partitions: number): boolean {
    return this.#partitionCount + partitions > this.#options.partitionsMax;
  }

  /** The largest batch the topic takes. */
  batchBytesMax(name: string): number {
    return this.get(name)?.settings.batchBytesMax ?? 0;
  }

  create(name: string, { partitions, config }: { partitions: number; config: TopicConfig }): Topic {
    const topic = this.#topic(name, newId(), config);
    this.#open(topic, partitions);
    try {
      this.#save();
    } catch (error) {
      this.#forget(topic);
      throw error;
    }
    this.#options.log(`Created topic ${name} with ${partitions} partitions`);
    return topic;
  }

  expand(topic: Topic, partitions: number): void {
    this.#open(topic, partitions);
    this.#save();
  }

  configure(topic: Topic, config: TopicConfig): void {
    topic.config = config;
    topic.settings = logSettings(config, this.#options);
    this.#save();
  }

  delete(topic: Topic): void {
    this.#forget(topic);
    this.#save();
    for (const partition of topic.partitions) partition.remove();
    Deno.removeSync(this.#folder(topic), { recursive: true });
    this.#options.log(`Deleted topic ${topic.name}`);
  }

  get #path(): string {
    return `${this.#options.dataDir}/topics.json`;
  }

  #folder(topic: Topic): string {
    return `${this.#options.dataDir}/topics/${topic.name}.${topic.id}`;
  }

  #topic(name: string, id: string, config: TopicConfig): Topic {
    return { name, id, config, partitions: [], settings: logSettings(config, this.#options) };
  }

  #forget(topic: Topic): void {
    this.#byName.delete(topic.name);
    this.#byId.delete(topic.id);
    this.#partitionCount -= topic.partitions.length;
  }

  #open(topic: Topic, partitions: number): void {
    const settings = () => topic.settings;
    const { log, clock } = this.#options;
    for (let index = topic.partitions.length; index < partitions; index++) {
      const folder = `${this.#folder(topic)}/${index}`;
      topic.partitions.push(PartitionLog.open(folder, { files: this.#files, settings, log, nowMs: clock.now() }));
      this.#partitionCount++;
    }
    this.#byName.set(topic.name, topic);
    this.#byId.set(topic.id, topic);
  }

  #save(): void {
    const saved: Saved = {
      clusterId: this.clusterId,
      topics: this.all().map(({ name, id, partitions, config }) => ({
        name,
        id,
        partitions: partitions.length,
        config,
      })),
    };
    replaceFile(this.#path, JSON.stringify(saved, null, 2) + "\n", { sync: true });
  }

  #removeLeftovers(): void {
    const folders = new Set(this.all().map((topic) => this.#folder(topic)));
    for (const entry of Deno.readDirSync(`${this.#options.dataDir}/topics`)) {
      const folder = `${this.#options.dataDir}/topics/${entry.name}`;
      if (folders.has(folder) || !/\.[0-9a-f]{32}$/.test(entry.name)) continue;
      Deno.removeSync(folder, { recursive: true });
      this.#options.log(`Removed ${folder}: no topic of topics.json`);
    }
  }
}

function newId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

function parse(text: string, path: string): Saved {
  try {
    const saved = JSON.parse(text) as Saved;
    if (typeof saved.clusterId === "string" && Array.isArray(saved.topics)) return saved;
  } catch {
    // Said below: the file is replaced in one step, so it was changed by something else.
  }
  throw new Error(`Cannot read ${path}: it is not the broker's list of topics; restore it or use another data folder`);
}
