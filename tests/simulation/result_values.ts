import { Buffer } from "node:buffer";
import avro from "avsc";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import { resultSchema } from "../../pipeline/sinks/result_schema.ts";
import type { ResultValue } from "../../pipeline/sinks/sink.ts";
import { anyPlan } from "./plans.ts";
import { Random } from "./random.ts";

// The columns are the same in all simulated plans.
const { plan } = anyPlan(new Random(1));
const type = avro.Type.forSchema(resultSchema(resultColumns(plan), { pipeline: plan.name }) as avro.Schema);

interface Decoded {
  readonly k: string;
  readonly window_start: number;
  readonly window_end: number;
  readonly n: number;
  readonly total: Uint8Array | { readonly bytes: Uint8Array };
  readonly revision: number;
  readonly final: boolean;
}

/** A record of the results topic as somebody else reads it, as a row: k, window_start, window_end, n, total, revision, final. */
export function rowOf(value: Uint8Array): ResultValue[] {
  const { k, window_start, window_end, n, total, revision, final } = type.fromBuffer(
    Buffer.from(value.subarray(5)),
  ) as Decoded;
  const bytes = total instanceof Uint8Array ? total : total.bytes;
  const sum = BigInt.asIntN(8 * bytes.length, bytes.reduce((whole, byte) => whole << 8n | BigInt(byte), 0n));
  return [k, window_start, window_end, n, String(sum), revision, final];
}
