/**
 * InitProducerId: a number for an idempotent producer.
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

  handle(broker, { clientId, body }, response) {
    const transactionalId = body.nullableText();
    response.int32(0);
    if (transactionalId !== null) {
      broker.log(`Refused transactional producer ${transactionalId} of ${clientId}: this broker has no transactions`);
      response.int16(ErrorCode.invalidRequest).int64(-1).int16(-1);
    } else {
      response.int16(ErrorCode.none).int64(broker.producerIds.next()).int16(0);
    }
    response.done();
  },
};
