/**
 * All that a definition in `streams/` may import.
 *
 * @module
 */
export {
  type Aggregation,
  avg,
  count,
  type Definition,
  type Destination,
  type Duration,
  type Emit,
  kafka,
  type Lake,
  lake,
  type LakeOptions,
  max,
  min,
  pipeline,
  postgres,
  sum,
  topic,
  tumbling,
} from "./definition.ts";
export { cassandra, type CassandraTable, type CassandraTableOptions } from "./sinks/cassandra/definition.ts";
export { kafkaTopics, type KafkaTopicsOptions } from "./sources/kafka_topics/definition.ts";
export { webhook, type WebhookOptions } from "./sinks/webhook/definition.ts";
export { files, type FilesOptions } from "./sources/files/definition.ts";
export { postgresRows, type PostgresRowsOptions } from "./sources/postgres_rows/definition.ts";
export { madeUp, type MadeUpOptions } from "./sources/made_up/definition.ts";
export { source, type SourceOptions, topics } from "./sources/definition.ts";
export { delivery, type DeliveryOptions } from "./deliveries/definition.ts";
export { secret } from "./secrets.ts";
export { jsonFiles, type JsonFilesOptions, parquetFiles, type ParquetFilesOptions } from "./sinks/files/definition.ts";
export { postgresTable, type PostgresTableOptions } from "./sinks/postgres_raw/definition.ts";
export { constant, httpPoll, type HttpPollOptions } from "./sources/http/definition.ts";
export { postgresChanges, type PostgresChangesOptions } from "./sources/postgres_changes/definition.ts";
export { eventStream, type EventStreamOptions, webSocket, type WebSocketOptions } from "./sources/feed/definition.ts";
