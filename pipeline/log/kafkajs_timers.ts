/**
 * kafkajs 2.2.4 sets a timer after every answer, for requests that may wait out a throttle, also when none waits: its delay is
 * then "until 1970" (tulios/kafkajs#1751), about which the runtime warns on the user's terminal, and the timer sets itself again
 * every millisecond. Here the timer is set only when a request waits; its delay is then positive.
 *
 * @module
 */
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";

interface Queue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}

const prototype = (RequestQueue as unknown as { readonly prototype: Queue }).prototype;
const schedule = prototype.scheduleCheckPendingRequests;
prototype.scheduleCheckPendingRequests = function (this: Queue) {
  if (this.pending.length > 0) schedule.call(this);
};
