/**
 * InitProducerId: a number for an idempotent producer, or for one with a transactional id that number and an epoch, which fences all
 * who had the id before.
 *
 *     request v0-4                         response
 *       transactional_id string?             throttle_ms int32
 *       transaction_timeout_ms int32         error int16
 *       producer_id int64  v3+               producer_id int64
 *       producer_epoch int16  v3+            producer_epoch int16
 *
 * @module
 */
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";

export const initProducerId: Api = {
  key: 22,
  name: "InitProducerId",
  minVersion: 0,
  maxVersion: 4,
  flexibleFrom: 2,

  async handle(broker, { version, clientId, body }, response) {
    const id = body.nullableText();
    const timeoutMs = body.int32();
    const producerId = version >= 3 ? body.int64() : -1;
    const epoch = version >= 3 ? body.int16() : -1;
    const expected = producerId < 0 ? null : { producerId, epoch };

    const answer = id === null
      ? { error: ErrorCode.none, producerId: broker.producerIds.next(), epoch: 0 } as const
      : await broker.transactions.initialize(id, { expected, timeoutMs });
    if (answer.error === ErrorCode.policyViolation) {
      broker.log(
        `Refused transactional id ${id} of ${clientId}: there are ${broker.options.transactionalIdsMax} already`,
      );
    }
    const known = "producerId" in answer ? answer : { producerId: -1, epoch: -1 };
    // Older clients do not know PRODUCER_FENCED.
    const isFenced = answer.error === ErrorCode.producerFenced && version < 4;
    response.int32(0).int16(isFenced ? ErrorCode.invalidProducerEpoch : answer.error);
    response.int64(known.producerId).int16(known.epoch).done();
  },
};
