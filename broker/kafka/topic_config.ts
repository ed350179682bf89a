/**
 * The settings of a topic, under the names Apache Kafka has for them. Those that mean something here are in `known` with their default;
 * others of Kafka's are stored and given back, but change nothing.
 *
 * @module
 */
import type { LogSettings } from "./log/partition_log.ts";
import type { ResolvedOptions } from "./options.ts";

/** What was set for one topic: Kafka's names and values, as text. */
export type TopicConfig = Record<string, string>;

/** Kafka's numbers for the types of a setting, in DescribeConfigs. */
const type = { string: 2, int: 3, long: 5, list: 7 } as const;

interface Setting {
  readonly type: number;
  readonly byDefault: (options: ResolvedOptions) => string;
  /** What is wrong with a value, null when nothing is. */
  readonly fault: (value: string) => string | null;
}

function integer(min: number, max: number): (value: string) => string | null {
  return (value) => {
    const fits = /^-?\d{1,19}$/.test(value) && Number(value) >= min && Number(value) <= max;
    return fits ? null : `an integer from ${min} to ${max}`;
  };
}

function oneOf(...values: string[]): (value: string) => string | null {
  return (value) => values.includes(value) ? null : `one of ${values.join(", ")}`;
}

const long = Number.MAX_VALUE;

const known = new Map<string, Setting>([
  ["cleanup.policy", {
    type: type.list,
    byDefault: () => "delete",
    fault: (value) =>
      value.split(",").every((part) => ["delete", "compact"].includes(part)) ? null : "delete or compact",
  }],
  ["retention.ms", { type: type.long, byDefault: (o) => String(o.retentionMs), fault: integer(-1, long) }],
  ["retention.bytes", { type: type.long, byDefault: (o) => String(o.retentionBytes), fault: integer(-1, long) }],
  ["segment.bytes", { type: type.int, byDefault: (o) => String(o.segmentBytes), fault: integer(1024, 0x7fff_ffff) }],
  ["max.message.bytes", { type: type.int, byDefault: (o) => String(o.batchBytesMax), fault: integer(61, 0x7fff_ffff) }],
  ["message.timestamp.type", {
    type: type.string,
    byDefault: () => "CreateTime",
    fault: oneOf("CreateTime", "LogAppendTime"),
  }],
]);

const accepted = new Set([
  "compression.type",
  "delete.retention.ms",
  "file.delete.delay.ms",
  "flush.messages",
  "flush.ms",
  "index.interval.bytes",
  "max.compaction.lag.ms",
  "message.downconversion.enable",
  "message.timestamp.after.max.ms",
  "message.timestamp.before.max.ms",
  "min.cleanable.dirty.ratio",
  "min.compaction.lag.ms",
  "min.insync.replicas",
  "preallocate",
  "segment.index.bytes",
  "segment.jitter.ms",
  "segment.ms",
  "unclean.leader.election.enable",
]);

/** What is wrong with a setting, in words for the person who sent it; null when nothing is. */
export function topicConfigFault(name: string, value: string): string | null {
  const setting = known.get(name);
  if (setting === undefined) return accepted.has(name) ? null : `Unknown topic config name: ${name}`;
  const expected = setting.fault(value);
  return expected === null ? null : `Invalid value ${value} for configuration ${name}: it must be ${expected}`;
}

/** Segments that a buffer has room for, and what they are not smaller than for that. */
const segmentsOfBuffer = 64;
const segmentBytesLeast = 64 * 1024;

/** Settings in force. */
export interface TopicSettings extends LogSettings {
  readonly batchBytesMax: number;
  readonly isCompacted: boolean;
  /** Whether its records may go when the buffer is full. */
  readonly mayDrop: boolean;
}

/** The settings as the log uses them. */
export function logSettings(config: TopicConfig, options: ResolvedOptions): TopicSettings {
  const value = (name: string) => config[name] ?? known.get(name)!.byDefault(options);
  // A compacted topic keeps the last record of each key; here it keeps all records, which includes those.
  const keepAll = !value("cleanup.policy").split(",").includes("delete");
  const retentionMs = keepAll ? -1 : Number(value("retention.ms"));
  // Whole segments go when a buffer is full: of a small one they are small parts.
  const segmentBytesMax = options.bufferBytes < 0
    ? Infinity
    : Math.max(segmentBytesLeast, Math.floor(options.bufferBytes / segmentsOfBuffer));
  return {
    isCompacted: keepAll,
    // Who set no time limit for a topic alone wants all of it.
    mayDrop: !keepAll && config["retention.ms"] !== "-1",
    segmentBytes: Math.min(Number(value("segment.bytes")), segmentBytesMax),
    retentionBytes: keepAll ? -1 : Number(value("retention.bytes")),
    retentionMs,
    appendTime: value("message.timestamp.type") === "LogAppendTime",
    batchBytesMax: Math.min(Number(value("max.message.bytes")), options.batchBytesMax),
  };
}

/** All settings of a topic with the value in force, for people who look. */
export function describeTopicConfig(config: TopicConfig, options: ResolvedOptions): {
  name: string;
  value: string;
  type: number;
  isDefault: boolean;
}[] {
  const rows = [...known].map(([name, setting]) => ({
    name,
    value: config[name] ?? setting.byDefault(options),
    type: setting.type as number,
    isDefault: !(name in config),
  }));
  for (const [name, value] of Object.entries(config)) {
    if (!known.has(name)) rows.push({ name, value, type: type.string, isDefault: false });
  }
  return rows;
}
