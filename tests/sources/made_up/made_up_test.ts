import assert from "node:assert/strict";
import { avroType } from "../../../pipeline/codec/avro_values.ts";
import { readSchemas } from "../../../pipeline/plan/schemas.ts";
import { systemClock } from "../../../pipeline/clock.ts";
import { MADE_UP } from "../../../pipeline/sources/made_up/kinds_of_data.ts";
import { madeUpKind } from "../../../pipeline/sources/made_up/kind.ts";
import type { SourceContext } from "../../../pipeline/sources/source_spec.ts";

const schemas = await readSchemas(new URL("../../../schemas", import.meta.url).pathname);

Deno.test("every made-up record fits the schema of its name, follows from its number, and keys differ enough", () => {
  for (const [name, makeUp] of Object.entries(MADE_UP)) {
    const values = avroType(schemas.get(name)!);
    const texts = new Set<string>();
    for (let number = 0; number < 5_000; number++) {
      const record = makeUp(number, 1_700_000_000_000 + number * 1_000);
      assert.deepEqual(values.validate(record), [], `${name} ${number}: ${JSON.stringify(record)}`);
      assert.deepEqual(makeUp(number, 1_700_000_000_000 + number * 1_000), record);
      texts.add(JSON.stringify(record));
    }
    assert.equal(texts.size, 5_000, name);
  }
});

Deno.test("a made-up stream goes on at the number after the last one committed", async () => {
  const to = {
    kind: "topic",
    topic: "t",
    schema: schemas.get("user_event")!,
    key: "user_id",
    eventTime: "event_time",
  } as const;
  const spec = { kind: "madeUp", data: "user_event", perSecond: 1_000 } as const;
  const plan = { name: "s", from: spec, to, into: null, limitPerSecond: null, partitions: null };
  assert.deepEqual(madeUpKind.check(spec, plan), []);
  assert.equal(madeUpKind.check({ ...spec, data: "nothing", perSecond: 0 }, plan).length, 2);
  // Boundary: the kind uses these two of what a source is opened with.
  const source = await madeUpKind.open(spec, { plan, schemaId: 7 } as unknown as SourceContext);
  const read = async (position: { next: number } | null) => {
    const options = { signal: new AbortController().signal, clock: systemClock, isBounded: true, onWaiting: () => {} };
    const batches = await Array.fromAsync(source.read(position, options));
    const ids = batches.flatMap(({ records }) =>
      records.map(({ value }) => new TextDecoder().decode(value!.subarray(6, 42)))
    );
    return { ids, next: batches.at(-1)!.position };
  };
  const first = await read(null);
  const second = await read({ next: 1_000 });
  assert.deepEqual([first.next, second.next], [{ next: 1_000 }, { next: 2_000 }]);
  assert.equal(new Set([...first.ids, ...second.ids]).size, 2_000);
});
