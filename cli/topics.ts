import type { TopicSpec } from "../pipeline/log/admin.ts";
import type { Plan } from "../pipeline/plan/plan.ts";
import { journalTopic } from "../pipeline/letters/journal.ts";
import { setAsideTopics } from "../pipeline/sinks/set_aside.ts";
import type { Config } from "./config.ts";

/** The topics a pipeline needs; in dev the one it reads too, which elsewhere is made by those who write it. */
export function topicsOf(plan: Plan, config: Pick<Config, "mode" | "partitions">): TopicSpec[] {
  const isDev = config.mode === "dev";
  const partitions = isDev ? config.partitions : undefined;
  const { dead, late } = setAsideTopics(plan.topic);
  return [
    ...isDev ? [{ topic: plan.topic, partitions: plan.partitions ?? partitions }] : [],
    ...plan.sinks.flatMap((sink) => sink.kind === "kafka" ? [{ topic: sink.topic, partitions }] : []),
    // They keep their records' timestamps, which retention by time would take for old, and bytes, whole batches among them.
    ...[dead, late].map((topic) => ({ topic, partitions, isArchive: true })),
    { topic: journalTopic(plan.topic), partitions: 1, isCompacted: true },
  ];
}
