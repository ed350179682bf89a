import type { Broker } from "../broker.ts";
import type { RequestReader, ResponseWriter } from "./fields.ts";

/** One request, its header already read. */
export interface Request {
  readonly version: number;
  readonly clientId: string;
  readonly clientHost: string;
  /** Aborted when the connection is gone. */
  readonly signal: AbortSignal;
  /**
   * The fields. They lie in the connection's buffer, which is used again as soon as the handler waits for something: whatever is
   * needed later must have been read before.
   */
  readonly body: RequestReader;
}

/** What a handler returns when the client expects no answer. */
export const noAnswer = Symbol("no answer");

type Outcome = void | typeof noAnswer;

/** One kind of request. The table of them in `dispatch.ts` is what the broker tells clients it can do. */
export interface Api {
  readonly key: number;
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** The first version with compact fields and tagged fields. */
  readonly flexibleFrom: number;
  handle(broker: Broker, request: Request, response: ResponseWriter): Outcome | Promise<Outcome>;
}
