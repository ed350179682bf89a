import { grown } from "../grown.ts";
import type { StateArray } from "./aggregate.ts";

/** What exact sums are kept in: for each slot two doubles, `high` and `low`, and whether any value was seen. */
export abstract class TwoDoubles {
  protected high = new Float64Array(0);
  protected low = new Float64Array(0);
  protected seen = new Uint8Array(0);

  grow(capacity: number): void {
    this.high = grown(this.high, new Float64Array(capacity));
    this.low = grown(this.low, new Float64Array(capacity));
    this.seen = grown(this.seen, new Uint8Array(capacity));
  }

  clear(length: number): void {
    this.high.fill(0, 0, length);
    this.low.fill(0, 0, length);
    this.seen.fill(0, 0, length);
  }

  state(length: number): StateArray[] {
    return [this.high.slice(0, length), this.low.slice(0, length), this.seen.slice(0, length)];
  }
}
