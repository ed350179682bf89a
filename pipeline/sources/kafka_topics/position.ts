/**
 * How far a source of topics has come.
 *
 *     { topics: { orders: { id: "..", next: [17, 0, 44], lost: [0, 0, 3] } } }
 *
 * @module
 */
import type { SourcePosition } from "../source.ts";

/** Of one topic; arrays by partition. */
export interface TopicPosition {
  /** Kafka's id of the topic that was read; null where the broker has none. A topic made anew has another. */
  readonly id: string | null;
  /** The offset to read next. */
  readonly next: readonly number[];
  /** Offsets that were gone before they were read. Only there when there are any. */
  readonly lost?: readonly number[];
}

export type TopicPositions = Readonly<Record<string, TopicPosition>>;

export function readPosition(position: SourcePosition | null): TopicPositions {
  return (position?.topics ?? {}) as TopicPositions;
}

export function writePosition(topics: ReadonlyMap<string, TopicPosition>): SourcePosition {
  return { topics: Object.fromEntries([...topics].toSorted(([a], [b]) => (a < b ? -1 : 1))) };
}

export function lostOffsets({ lost = [] }: TopicPosition): number {
  return lost.reduce((sum, count) => sum + count, 0);
}
