/**
 * DescribeTransactions and ListTransactions (KIP-664): who has a transactional id, and what is open.
 *
 *     DescribeTransactions request v0                response
 *       [transactional_ids]                            throttle_ms int32
 *                                                      [transactions] error int16, transactional_id, state,
 *                                                        timeout_ms int32, start_ms int64, producer_id int64,
 *                                                        producer_epoch int16, [topics] name, [index int32]
 *
 *     ListTransactions request v0-1                  response
 *       [states], [producer_ids int64],                throttle_ms int32, error int16, [unknown_states]
 *       longer_than_ms int64  v1+                      [transactions] transactional_id, producer_id int64, state
 *
 * @module
 */
import type { Phase } from "../transactions/transaction.ts";
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";

/** Kafka's names for the states. */
const stateNames: Record<Phase, string> = {
  empty: "Empty",
  ongoing: "Ongoing",
  prepareCommit: "PrepareCommit",
  prepareAbort: "PrepareAbort",
  completeCommit: "CompleteCommit",
  completeAbort: "CompleteAbort",
};

export const describeTransactions: Api = {
  key: 65,
  name: "DescribeTransactions",
  minVersion: 0,
  maxVersion: 0,
  flexibleFrom: 0,

  handle(broker, { body }, response) {
    const ids = body.list(() => body.text());
    response.int32(0);
    response.list(ids, (id) => {
      const state = broker.transactions.get(id)?.state;
      response.int16(state === undefined ? ErrorCode.transactionalIdNotFound : ErrorCode.none).text(id);
      response.text(state === undefined ? "" : stateNames[state.phase]);
      response.int32(state?.timeoutMs ?? 0).int64(state?.startedMs ?? -1);
      response.int64(state?.producerId ?? -1).int16(state?.epoch ?? -1);
      const byTopic = Map.groupBy(state?.partitions ?? [], ({ topicId }) => broker.topics.nameOf(topicId));
      byTopic.delete(null);
      response.list(byTopic, ([name, partitions]) => {
        response.text(name).list(partitions, ({ index }) => response.int32(index)).done();
      });
      response.done();
    });
    response.done();
  },
};

export const listTransactions: Api = {
  key: 66,
  name: "ListTransactions",
  minVersion: 0,
  maxVersion: 1,
  flexibleFrom: 0,

  handle(broker, { version, body }, response) {
    const states = body.list(() => body.text());
    const producerIds = body.list(() => body.int64());
    const longerThanMs = version >= 1 ? body.int64() : -1;
    const nowMs = broker.clock.now();
    const found = [...broker.transactions.all()].map(({ state }) => state).filter((state) =>
      (states.length === 0 || states.includes(stateNames[state.phase])) &&
      (producerIds.length === 0 || producerIds.includes(state.producerId)) &&
      (longerThanMs < 0 || (state.startedMs >= 0 && nowMs - state.startedMs > longerThanMs))
    );
    response.int32(0).int16(ErrorCode.none);
    const known = Object.values(stateNames);
    response.list(states.filter((state) => !known.includes(state)), (state) => response.text(state));
    response.list(found, ({ id, producerId, phase }) => {
      response.text(id).int64(producerId).text(stateNames[phase]).done();
    });
    response.done();
  },
};
