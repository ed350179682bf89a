/**
 * All that a definition in `streams/` may import.
 *
 * @module
 */
export {
  type Aggregation,
  avg,
  count,
  type Definition,
  type Destination,
  type Duration,
  type Emit,
  kafka,
  max,
  min,
  pipeline,
  postgres,
  sum,
  topic,
  tumbling,
} from "./definition.ts";
