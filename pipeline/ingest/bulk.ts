/**
 * Records that come over HTTP by the thousand: what a request is, and what it is answered.
 *
 * @module
 */

/** A request to write a body full of records to one topic. */
export interface BulkRequest {
  readonly topic: string;
  /** NDJSON, or an Avro object container file. */
  readonly format: "ndjson" | "avro";
  /** What a line of NDJSON is: a record's value, or `{key?, value}`. */
  readonly lines: "value" | "record";
  /** Dotted path of the field whose text is the record's key; null for records without one, or with their own. */
  readonly key: string | null;
  /** A request that was answered is answered the same under the same key, and writes nothing; null for one of its own. */
  readonly idempotencyKey: string | null;
  readonly isGzip: boolean;
  /** What the sender said it would send; null when it did not. */
  readonly declaredBytes: number | null;
  readonly body: ReadableStream<Uint8Array>;
}

/** Why a record was refused, and which: `line 3`, `record 17`. */
export interface BulkFault {
  readonly where: string;
  readonly problem: string;
}

/** In all answers but `written` nothing was written. */
export type BulkAnswer =
  | { readonly kind: "written"; readonly records: number; readonly isRepeat: boolean }
  /** The first faults, and how many records have one: of the whole body, or as far as it was read. */
  | {
    readonly kind: "refused";
    readonly faults: readonly BulkFault[];
    readonly count: number;
    readonly isWhole: boolean;
  }
  /** The body as a whole is not what it is said to be. */
  | { readonly kind: "unreadable"; readonly problem: string }
  | { readonly kind: "too large"; readonly problem: string }
  | { readonly kind: "slow"; readonly problem: string }
  | { readonly kind: "unknown topic" }
  | { readonly kind: "unusable schema"; readonly problem: string }
  /** Too much is under way; ask again. */
  | { readonly kind: "busy"; readonly problem: string; readonly retryAfterSeconds: number }
  /** A request with this key is under way; ask again. */
  | { readonly kind: "key busy"; readonly retryAfterSeconds: number }
  /** Another request was answered under this key. */
  | { readonly kind: "key reused"; readonly problem: string };

/** Writes bodies of records, each in one transaction: a request is in its topic whole, or not at all. */
export interface BulkIngest {
  /** @throws UnavailableError when broker or registry is away; when it says so, the records may be there: repeat with the key */
  write(request: BulkRequest): Promise<BulkAnswer>;
}

/** How requests were answered: `repeated` was written before; `failed` got no answer of these, as when Kafka is away. */
export type BulkOutcome = BulkAnswer["kind"] | "repeated" | "failed";

/** What bulk requests have come to since the process began. */
export interface BulkFigures {
  readonly requests: ReadonlyMap<BulkOutcome, number>;
  /** Records written, repeats not counted. */
  readonly records: number;
  readonly underWay: number;
  /** Bytes of records that those under way hold. */
  readonly heldBytes: number;
}

export interface BulkLimits {
  /** Bytes of a body, as sent and unpacked. */
  readonly bodyBytesMax: number;
  readonly recordsMax: number;
  /** Time a body has to arrive in. */
  readonly bodyMs: number;
  /** Time Kafka has to take it; and to answer before the body is read. */
  readonly writeMs: number;
  readonly openMs: number;
  /** Requests worked on at a time. */
  readonly requestsMax: number;
  /** Bytes of records that all requests together hold. */
  readonly heldBytesMax: number;
  /** Faults that are told, and that are looked for: a body with more is not read to its end. */
  readonly faultsMax: number;
  readonly faultsSoughtMax: number;
  /** How long a key is remembered, and how many keys of a slot are: the older go first. */
  readonly keyMs: number;
  readonly keysMax: number;
}

export const BULK_LIMITS: BulkLimits = {
  bodyBytesMax: 64 * 1024 * 1024,
  recordsMax: 500_000,
  bodyMs: 60_000,
  writeMs: 30_000,
  openMs: 10_000,
  requestsMax: 32,
  heldBytesMax: 512 * 1024 * 1024,
  faultsMax: 100,
  faultsSoughtMax: 10_000,
  keyMs: 24 * 3_600_000,
  keysMax: 12_500,
};

/** Ends the work on a request with an answer. */
export class BulkRefusal extends Error {
  override readonly name = "BulkRefusal";
  readonly answer: BulkAnswer;

  constructor(answer: BulkAnswer) {
    super(answer.kind);
    this.answer = answer;
  }
}
