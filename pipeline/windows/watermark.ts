/**
 * How far event time has come in one partition: the largest event time seen less the lateness allowed, or what it was raised
 * to while the partition had nothing to say. It never goes back.
 *
 * A record counts as late by the watermark of its own partition alone, before any other is looked at. So whether it is late
 * follows from that partition's log and the raises, which are saved, and not from how reading was interleaved.
 */
export class PartitionWatermark {
  readonly #allowedLatenessMs: number;
  /** Largest event time seen, -Infinity before the first. */
  maxEventTimeMs: number;
  /** A decision made while the partition was idle, -Infinity if none. */
  raisedToMs: number;

  constructor(allowedLatenessMs: number, saved = { maxEventTimeMs: -Infinity, raisedToMs: -Infinity }) {
    this.#allowedLatenessMs = allowedLatenessMs;
    this.maxEventTimeMs = saved.maxEventTimeMs;
    this.raisedToMs = saved.raisedToMs;
  }

  /** Records with windows that end at or before this are late. */
  get currentMs(): number {
    return Math.max(this.maxEventTimeMs - this.#allowedLatenessMs, this.raisedToMs);
  }

  /** Moves it forward; a lower value changes nothing. */
  raise(toMs: number): void {
    if (toMs > this.raisedToMs) this.raisedToMs = toMs;
  }
}
