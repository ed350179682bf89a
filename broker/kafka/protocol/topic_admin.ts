/**
 * CreateTopics, DeleteTopics and CreatePartitions.
 *
 *     CreateTopics request v2-7                    response
 *       [topics] name, partitions int32,             throttle_ms int32
 *         replication int16,                         [topics] name, topic_id uuid  v7+, error int16, message string?,
 *         [assignments] partition int32,               partitions int32, replication int16,
 *           [broker int32]                             [configs]? name, value string?, read_only bool,
 *         [configs] name, value string?                  source int8, sensitive bool               v5+
 *       timeout_ms int32, validate_only bool
 *
 *     DeleteTopics request v1-6                    response
 *       [names] to v5                                throttle_ms int32
 *       [topics] name string?, topic_id uuid v6+     [topics] name string (nullable v6+), topic_id uuid  v6+,
 *       timeout_ms int32                               error int16, message string?  v5+
 *
 *     CreatePartitions request v0-3                response
 *       [topics] name, count int32,                  throttle_ms int32
 *         [assignments]? [broker int32]              [topics] name, error int16, message string?
 *       timeout_ms int32, validate_only bool
 *
 * @module
 */
import type { Broker } from "../broker.ts";
import { isTopicName, type TopicConfig } from "../topics.ts";
import { topicConfigFault } from "../topic_config.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";

/** A change that was not made: the code for the client's program, the message for the person. */
class NotDone extends Error {
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

interface Outcome {
  readonly error: number;
  readonly message: string | null;
}

/** Runs one change of a request that may carry several: each succeeds or fails on its own. */
function attempt(broker: Broker, change: () => void): Outcome {
  try {
    change();
    return { error: ErrorCode.none, message: null };
  } catch (error) {
    if (error instanceof NotDone) return { error: error.code, message: error.message };
    // What is left are the calls that write topics.json and make folders.
    const { message } = error as Error;
    broker.log(`Cannot change the topics: ${message}`);
    return { error: ErrorCode.kafkaStorageError, message };
  }
}

export const createTopics: Api = {
  key: 19,
  name: "CreateTopics",
  minVersion: 2,
  maxVersion: 7,
  flexibleFrom: 5,

  handle(broker, { version, body }, response) {
    const topics = body.list(() => {
      const name = body.text();
      const count = body.int32();
      const replication = body.int16();
      const assignments = body.list(() => {
        body.int32();
        body.list(() => body.int32());
        body.done();
      });
      const config: TopicConfig = {};
      body.list(() => {
        const setting = body.text();
        const value = body.nullableText();
        if (value !== null) config[setting] = value;
        body.done();
      });
      body.done();
      const byDefault = assignments.length > 0 ? assignments.length : broker.options.defaultPartitions;
      return { name, replication, config, partitions: count === -1 ? byDefault : count };
    });
    body.int32();
    const validateOnly = body.boolean();

    const outcomes = topics.map((topic) =>
      attempt(broker, () => {
        checkNewTopic(broker, topic);
        if (!validateOnly) broker.topics.create(topic.name, topic);
      })
    );
    response.int32(0);
    response.list(topics, ({ name, partitions }) => {
      const { error, message } = outcomes.shift()!;
      response.text(name);
      if (version >= 7) response.uuid(broker.topics.get(name)?.id ?? "0".repeat(32));
      response.int16(error).text(message);
      if (version >= 5) response.int32(error === 0 ? partitions : -1).int16(error === 0 ? 1 : -1).listLength(0);
      response.done();
    });
    response.done();
  },
};

function checkNewTopic(
  broker: Broker,
  { name, partitions, replication, config }: {
    name: string;
    partitions: number;
    replication: number;
    config: TopicConfig;
  },
): void {
  if (!isTopicName(name)) {
    throw new NotDone(
      ErrorCode.invalidTopic,
      `"${name}" is no topic name: 1 to 249 of letters, digits, ".", "_" and "-"`,
    );
  }
  if (broker.topics.get(name) !== null) {
    throw new NotDone(ErrorCode.topicAlreadyExists, `Topic '${name}' already exists.`);
  }
  if (partitions < 1) {
    throw new NotDone(ErrorCode.invalidPartitions, `A topic needs 1 partition or more, not ${partitions}`);
  }
  if (replication !== -1 && replication !== 1) {
    throw new NotDone(
      ErrorCode.invalidReplicationFactor,
      `There is 1 broker, so 1 replica; ${replication} were asked for`,
    );
  }
  checkRoom(broker, partitions);
  for (const [setting, value] of Object.entries(config)) {
    const fault = topicConfigFault(setting, value);
    if (fault !== null) throw new NotDone(ErrorCode.invalidConfig, fault);
  }
}

function checkRoom(broker: Broker, partitions: number): void {
  if (!broker.topics.isFull(partitions)) return;
  throw new NotDone(
    ErrorCode.policyViolation,
    `${partitions} more partitions would pass the ${broker.options.partitionsMax} this broker may have`,
  );
}

export const deleteTopics: Api = {
  key: 20,
  name: "DeleteTopics",
  minVersion: 1,
  maxVersion: 6,
  flexibleFrom: 4,

  handle(broker, { version, body }, response) {
    const noId = "0".repeat(32);
    const asked = body.list(() => {
      const name = version >= 6 ? body.nullableText() : body.text();
      const id = version >= 6 ? body.uuid() : noId;
      if (version >= 6) body.done();
      return { name: name ?? broker.topics.nameOf(id), id };
    });
    response.int32(0);
    response.list(asked, ({ name, id }) => {
      const topic = broker.topics.get(name ?? "");
      const outcome = attempt(broker, () => {
        if (topic === null) {
          const code = name === null ? ErrorCode.unknownTopicId : ErrorCode.unknownTopicOrPartition;
          throw new NotDone(code, `There is no topic ${name ?? `with id ${id}`}`);
        }
        broker.topics.delete(topic);
        broker.groups.offsets.forgetTopic(topic.name);
      });
      response.text(version >= 6 ? name : name ?? "");
      if (version >= 6) response.uuid(topic?.id ?? id);
      response.int16(outcome.error);
      if (version >= 5) response.text(outcome.message);
      response.done();
    });
    response.done();
  },
};

export const createPartitions: Api = {
  key: 37,
  name: "CreatePartitions",
  minVersion: 0,
  maxVersion: 3,
  flexibleFrom: 2,

  handle(broker, { body }, response) {
    const asked = body.list(() => {
      const name = body.text();
      const count = body.int32();
      body.nullableList(() => {
        body.list(() => body.int32());
        body.done();
      });
      body.done();
      return { name, count };
    });
    body.int32();
    const validateOnly = body.boolean();
    response.int32(0);
    response.list(asked, ({ name, count }) => {
      const topic = broker.topics.get(name);
      const { error, message } = attempt(broker, () => {
        if (topic === null) throw new NotDone(ErrorCode.unknownTopicOrPartition, `There is no topic ${name}`);
        const now = topic.partitions.length;
        if (count <= now) {
          throw new NotDone(ErrorCode.invalidPartitions, `Topic ${name} has ${now} partitions; ${count} are not more`);
        }
        checkRoom(broker, count - now);
        if (!validateOnly) broker.topics.expand(topic, count);
      });
      response.text(name).int16(error).text(message).done();
    });
    response.done();
  },
};
