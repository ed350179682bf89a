/**
 * DescribeConfigs: the settings of topics and of the broker.
 *
 *     request v0-4                                   response
 *       [resources] type int8, name,                   throttle_ms int32
 *         [names]?                                     [results] error int16, message string?, type int8, name,
 *       synonyms bool  v1+                               [configs] name, value string?, read_only bool,
 *       documentation bool  v3+                            is_default bool  v0, source int8  v1+, sensitive bool,
 *                                                          [synonyms] name, value string?, source int8  v1+,
 *                                                          type int8  v3+, documentation string?  v3+
 *
 * IncrementalAlterConfigs: changes single settings of topics.
 *
 *     request v0-1                                   response
 *       [resources] type int8, name,                   throttle_ms int32
 *         [configs] name, operation int8,              [results] error int16, message string?, type int8, name
 *           value string?
 *       validate_only bool
 *
 * @module
 */
import type { Broker } from "../broker.ts";
import { nodeId } from "../options.ts";
import { describeTopicConfig, topicConfigFault } from "../topic_config.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";
import type { ResponseWriter } from "./fields.ts";

const topicResource = 2;
const brokerResource = 4;
/** Where a value comes from: set for the topic, or Kafka's built-in default. */
const source = { topic: 1, byDefault: 5 } as const;

interface Row {
  readonly name: string;
  readonly value: string;
  readonly type: number;
  readonly isDefault: boolean;
}

export const describeConfigs: Api = {
  key: 32,
  name: "DescribeConfigs",
  minVersion: 0,
  maxVersion: 4,
  flexibleFrom: 4,

  handle(broker, { version, body }, response) {
    const resources = body.list(() => {
      const type = body.int8();
      const name = body.text();
      const names = body.nullableList(() => body.text());
      body.done();
      return { type, name, names };
    });
    response.int32(0);
    response.list(resources, ({ type, name, names }) => {
      const rows = describe(broker, type, name);
      const [error, message] = rows === null ? unknownResource(type, name) : [ErrorCode.none, null];
      response.int16(error).text(message).int8(type).text(name);
      const wanted = (rows ?? []).filter((row) => names === null || names.length === 0 || names.includes(row.name));
      response.list(wanted, (row) => writeRow(row, { version, response, readOnly: type === brokerResource }));
      response.done();
    });
    response.done();
  },
};

function describe(broker: Broker, type: number, name: string): Row[] | null {
  if (type === topicResource) {
    const topic = broker.topics.get(name);
    return topic === null ? null : describeTopicConfig(topic.config, broker.options);
  }
  if (type !== brokerResource || (name !== "" && name !== String(nodeId))) return null;
  const { defaultPartitions, autoCreateTopics, retentionMs, retentionBytes, segmentBytes } = broker.options;
  const row = (name: string, value: unknown) => ({ name, value: String(value), type: 2, isDefault: true });
  return [
    row("num.partitions", defaultPartitions),
    row("default.replication.factor", 1),
    row("auto.create.topics.enable", autoCreateTopics),
    row("log.retention.ms", retentionMs),
    row("log.retention.bytes", retentionBytes),
    row("log.segment.bytes", segmentBytes),
  ];
}

function unknownResource(type: number, name: string): [number, string] {
  return type === topicResource
    ? [ErrorCode.unknownTopicOrPartition, `There is no topic ${name}`]
    : [ErrorCode.invalidRequest, `There is no resource "${name}" of type ${type} with settings here`];
}

function writeRow(
  { name, value, type, isDefault }: Row,
  { version, response, readOnly }: { version: number; response: ResponseWriter; readOnly: boolean },
): void {
  response.text(name).text(value).boolean(readOnly);
  if (version === 0) response.boolean(isDefault);
  else response.int8(isDefault ? source.byDefault : source.topic);
  response.boolean(false);
  if (version >= 1) response.listLength(0);
  if (version >= 3) response.int8(type).text(null);
  response.done();
}

const operation = { set: 0, remove: 1 } as const;

export const incrementalAlterConfigs: Api = {
  key: 44,
  name: "IncrementalAlterConfigs",
  minVersion: 0,
  maxVersion: 1,
  flexibleFrom: 1,

  handle(broker, { body }, response) {
    const resources = body.list(() => {
      const type = body.int8();
      const name = body.text();
      const changes = body.list(() => {
        const setting = body.text();
        const change = body.int8();
        const value = body.nullableText();
        body.done();
        return { setting, change, value };
      });
      body.done();
      return { type, name, changes };
    });
    const validateOnly = body.boolean();
    response.int32(0);
    response.list(resources, ({ type, name, changes }) => {
      const topic = type === topicResource ? broker.topics.get(name) : null;
      let [error, message]: [number, string | null] = topic === null ? unknownResource(type, name) : [0, null];
      const config = { ...topic?.config };
      for (const { setting, change, value } of changes) {
        const supported = change === operation.remove || (change === operation.set && value !== null);
        const fault = supported
          ? change === operation.set && topicConfigFault(setting, value!)
          : `Operation ${change} on ${setting} is not known here: set it, or remove it`;
        if (fault && error === 0) [error, message] = [ErrorCode.invalidConfig, fault];
        if (change === operation.set) config[setting] = value ?? "";
        else delete config[setting];
      }
      if (error === 0 && !validateOnly) broker.topics.configure(topic!, config);
      response.int16(error).text(message).int8(type).text(name).done();
    });
    response.done();
  },
};
