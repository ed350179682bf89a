/**
 * Metadata: the broker, and topics with their partitions. A topic that is asked for by name may be created.
 *
 *     request v0-12                               response
 *       [topics]? topic_id uuid  v10+,              throttle_ms int32  v3+
 *                 name string (nullable v10+)       [brokers] id int32, host string, port int32, rack string?  v1+
 *       allow_auto_creation bool  v4+               cluster_id string?  v2+
 *       cluster_operations bool  v8-10              controller_id int32  v1+
 *       topic_operations bool  v8+                  [topics] error int16, name string (nullable v12+), topic_id uuid  v10+,
 *                                                     internal bool  v1+,
 *                                                     [partitions] error int16, index int32, leader int32,
 *                                                       leader_epoch int32  v7+, [replicas int32], [isr int32],
 *                                                       [offline int32]  v5+
 *                                                     operations int32  v8+
 *                                                   cluster_operations int32  v8-10
 *
 * DescribeCluster: the broker alone.
 *
 *     request v0-2                                response
 *       cluster_operations bool                     throttle_ms int32, error int16, message string?
 *       endpoint_type int8  v1+                     endpoint_type int8  v1+
 *       fenced bool  v2+                            cluster_id string, controller_id int32
 *                                                   [brokers] id int32, host string, port int32, rack string?, fenced bool  v2+
 *                                                   cluster_operations int32
 *
 * @module
 */
import type { Broker } from "../broker.ts";
import { nodeId } from "../options.ts";
import type { Topic } from "../topics.ts";
import { isTopicName } from "../topics.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";
import type { ResponseWriter } from "./fields.ts";

/** "Not asked for", in place of the set of operations a client is allowed. */
const operationsUnknown = -0x8000_0000;
const noId = "0".repeat(32);

interface Answer {
  readonly error: number;
  readonly name: string | null;
  readonly id: string;
  readonly topic: Topic | null;
}

export const metadata: Api = {
  key: 3,
  name: "Metadata",
  minVersion: 0,
  maxVersion: 12,
  flexibleFrom: 9,

  handle(broker, { version, body }, response) {
    const asked = body.nullableList(() => {
      const id = version >= 10 ? body.uuid() : noId;
      const name = version >= 10 ? body.nullableText() : body.text();
      body.done();
      return { id, name };
    });
    const mayCreate = version < 4 || body.boolean();
    const everything = asked === null || (version === 0 && asked.length === 0);
    const answers = everything
      ? broker.topics.all().map(found)
      : asked.map(({ id, name }) => answer(broker, { id, name, mayCreate }));

    if (version >= 3) response.int32(0);
    response.list([broker], () => writeBroker(broker, response, version >= 1));
    if (version >= 2) response.text(broker.topics.clusterId);
    if (version >= 1) response.int32(nodeId);
    response.list(answers, (answer) => writeTopic(answer, version, response));
    if (version >= 8 && version <= 10) response.int32(operationsUnknown);
    response.done();
  },
};

export const describeCluster: Api = {
  key: 60,
  name: "DescribeCluster",
  minVersion: 0,
  maxVersion: 1,
  flexibleFrom: 0,

  handle(broker, { version }, response) {
    response.int32(0).int16(ErrorCode.none).text(null);
    if (version >= 1) response.int8(1);
    response.text(broker.topics.clusterId).int32(nodeId);
    response.list([broker], () => writeBroker(broker, response, true));
    response.int32(operationsUnknown).done();
  },
};

function found(topic: Topic): Answer {
  return { error: ErrorCode.none, name: topic.name, id: topic.id, topic };
}

function answer(
  broker: Broker,
  { id, name, mayCreate }: { id: string; name: string | null; mayCreate: boolean },
): Answer {
  if (name === null) {
    const topic = broker.topics.get(broker.topics.nameOf(id) ?? "");
    return topic === null ? { error: ErrorCode.unknownTopicId, name: null, id, topic } : found(topic);
  }
  const topic = broker.topics.get(name);
  if (topic !== null) return found(topic);
  if (!isTopicName(name)) return { error: ErrorCode.invalidTopic, name, id: noId, topic };
  if (!mayCreate || !broker.options.autoCreateTopics || broker.topics.isFull(broker.options.defaultPartitions)) {
    return { error: ErrorCode.unknownTopicOrPartition, name, id: noId, topic };
  }
  return found(broker.topics.create(name, { partitions: broker.options.defaultPartitions, config: {} }));
}

function writeBroker(broker: Broker, response: ResponseWriter, withRack: boolean): void {
  response.int32(nodeId).text(broker.advertised.host).int32(broker.advertised.port);
  if (withRack) response.text(null);
  response.done();
}

function writeTopic({ error, name, id, topic }: Answer, version: number, response: ResponseWriter): void {
  response.int16(error).text(version >= 12 ? name : name ?? "");
  if (version >= 10) response.uuid(id);
  if (version >= 1) response.boolean(false);
  response.list([...(topic?.partitions ?? []).keys()], (index) => {
    response.int16(ErrorCode.none).int32(index).int32(nodeId);
    if (version >= 7) response.int32(0);
    response.listLength(1).int32(nodeId).listLength(1).int32(nodeId);
    if (version >= 5) response.listLength(0);
    response.done();
  });
  if (version >= 8) response.int32(operationsUnknown);
  response.done();
}
