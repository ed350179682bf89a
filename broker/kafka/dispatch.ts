/**
 * From the bytes of a request to the handler of its kind.
 *
 *     request header                          response header
 *       api_key int16, api_version int16        correlation_id int32
 *       correlation_id int32                    tagged fields        in a flexible version, but never for ApiVersions
 *       client_id string?   (never compact)
 *       tagged fields        in a flexible version
 *
 * @module
 */
import { MalformedRecordError } from "../../pipeline/errors.ts";
import type { Broker } from "./broker.ts";
import { type Api, noAnswer } from "./protocol/api.ts";
import { apiVersions, writeDowngrade } from "./protocol/api_versions.ts";
import { describeConfigs, incrementalAlterConfigs } from "./protocol/configs.ts";
import { deleteRecords } from "./protocol/delete_records.ts";
import { ErrorCode } from "./protocol/errors.ts";
import { fetch } from "./protocol/fetch.ts";
import { RequestReader, type ResponseWriter } from "./protocol/fields.ts";
import { deleteGroups, describeGroups, findCoordinator, listGroups } from "./protocol/group_admin.ts";
import { listOffsets, offsetForLeaderEpoch } from "./protocol/list_offsets.ts";
import { heartbeat, joinGroup, leaveGroup, syncGroup } from "./protocol/membership.ts";
import { describeCluster, metadata } from "./protocol/metadata.ts";
import { offsetCommit, offsetFetch } from "./protocol/offsets.ts";
import { produce } from "./protocol/produce.ts";
import { initProducerId } from "./protocol/producer_ids.ts";
import { createPartitions, createTopics, deleteTopics } from "./protocol/topic_admin.ts";
import { describeTransactions, listTransactions } from "./protocol/transaction_admin.ts";
import { addOffsetsToTxn, addPartitionsToTxn, endTxn, txnOffsetCommit } from "./protocol/transactions.ts";

/** Everything this broker can be asked, by key. */
const table: ReadonlyMap<number, Api> = new Map(
  [
    produce,
    fetch,
    listOffsets,
    metadata,
    offsetCommit,
    offsetFetch,
    findCoordinator,
    joinGroup,
    heartbeat,
    leaveGroup,
    syncGroup,
    describeGroups,
    listGroups,
    apiVersions(() => table.values()),
    createTopics,
    deleteTopics,
    deleteRecords,
    initProducerId,
    offsetForLeaderEpoch,
    addPartitionsToTxn,
    addOffsetsToTxn,
    endTxn,
    txnOffsetCommit,
    describeConfigs,
    createPartitions,
    deleteGroups,
    incrementalAlterConfigs,
    describeCluster,
    describeTransactions,
    listTransactions,
  ].map((api) => [api.key, api]),
);

const apiVersionsKey = 18;

/** Who asks. */
export interface Peer {
  readonly clientHost: string;
  readonly signal: AbortSignal;
}

/** Thrown for a request that cannot be answered as its sender would understand; the connection must be closed. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";
  /** An answer was written all the same; send it first. */
  readonly answered: boolean;

  constructor(message: string, options: { answered: boolean }) {
    super(message);
    this.answered = options.answered;
  }
}

/**
 * Reads one request from `[start, end)` of `data` and writes the whole response frame. Returns whether there is one to send; a
 * promise when that takes a while, by when the request's bytes are no longer needed.
 */
export function dispatch(
  broker: Broker,
  peer: Peer,
  frame: { data: Uint8Array; start: number; end: number; response: ResponseWriter },
): boolean | Promise<boolean> {
  const { response } = frame;
  const body = new RequestReader(frame.data, frame.start, frame.end);
  let what = "a request header";
  const malformed = (error: unknown): never => {
    if (!(error instanceof MalformedRecordError)) throw error;
    throw new BadRequest(`${what} makes no sense: ${error.message}`, { answered: false });
  };
  const finish = (outcome: void | typeof noAnswer) => {
    response.patchLength(0);
    return outcome !== noAnswer;
  };

  try {
    const key = body.int16();
    const version = body.int16();
    response.reserveInt32();
    response.int32(body.int32());
    const clientId = body.nullableString() ?? "";
    const api = table.get(key);
    what = `${api?.name ?? `Request ${key}`} v${version} of client "${clientId}"`;
    if (api === undefined || version < api.minVersion || version > api.maxVersion) {
      return unsupported(what, key, response);
    }
    body.flexible = response.flexible = version >= api.flexibleFrom;
    body.done();
    if (key !== apiVersionsKey) response.done();
    const outcome = api.handle(broker, { ...peer, version, clientId, body }, response);
    return outcome instanceof Promise ? outcome.then(finish, malformed) : finish(outcome);
  } catch (error) {
    return malformed(error);
  }
}

function unsupported(what: string, key: number, response: ResponseWriter): boolean {
  if (key === apiVersionsKey) {
    writeDowngrade(table.values(), response);
    response.patchLength(0);
    return true;
  }
  // No client sends what ApiVersions did not offer, and the layout of its answer is not known: the code, then good-bye.
  response.int16(ErrorCode.unsupportedVersion).patchLength(0);
  throw new BadRequest(`${what} is not supported`, { answered: true });
}
