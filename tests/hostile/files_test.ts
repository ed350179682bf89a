import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeCheckpoint, encodeCheckpoint } from "../../pipeline/checkpoint/checkpoint.ts";
import { decodeSamples, encodeSamples, SAMPLE_BYTES } from "../../pipeline/checkpoint/history_file.ts";
import type { Sample } from "../../pipeline/checkpoint/history.ts";
import { readKeys } from "../../api/security/key_file.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import { mutations, nastyJson, runs } from "./support.ts";

const CHECKPOINT = encodeCheckpoint({
  fingerprint: "abc",
  generation: 0,
  floorMs: null,
  finalBeforeMs: null,
  topicId: null,
  sinks: { results: null, setAside: null },
  epoch: 7,
  savedAtMs: 1_700_000_000_000,
  partitions: [],
  panes: [{
    length: 1,
    keys: Uint8Array.of(1, 2, 3),
    keyEnds: Int32Array.of(3),
    hashes: Int32Array.of(7),
    windows: Float64Array.of(60_000),
    counts: Float64Array.of(4),
    unpublished: Int32Array.of(0),
    states: [[Float64Array.of(1.5)]],
  }],
});

const SAMPLES: Sample[] = [0, 1, 2].map((partition) => ({
  partition,
  position: 10 + partition,
  maxEventTimeMs: null,
  raisedToMs: 5,
  buckets: { consumed: 3, aggregated: 3, filtered: 0, late: 0, dead: 0, duplicate: 0 },
}));

Deno.test("a damaged checkpoint is refused, whatever was done to it; random bytes never are one", () => {
  const same = (bytes: Uint8Array) => bytes.length === CHECKPOINT.length && bytes.every((b, i) => b === CHECKPOINT[i]);
  fc.assert(
    fc.property(fc.oneof(mutations(CHECKPOINT), fc.uint8Array({ maxLength: 200 })), (bytes) => {
      if (!same(bytes)) assert.throws(() => decodeCheckpoint(bytes), Error);
    }),
    runs(3_000),
  );
  decodeCheckpoint(CHECKPOINT);
});

Deno.test("of a damaged history only samples are read that were written, or it is refused", () => {
  const bytes = Uint8Array.of(...encodeSamples(SAMPLES), ...encodeSamples(SAMPLES.slice(0, 1)));
  const written = new Set(SAMPLES.map((sample) => JSON.stringify(sample)));
  fc.assert(
    fc.property(fc.oneof(mutations(bytes), fc.uint8Array({ maxLength: 400 })), (damaged) => {
      let read;
      try {
        read = decodeSamples(damaged);
      } catch (error) {
        assert.match((error as Error).message, /does not fit its checksums/);
        return;
      }
      for (const sample of read.samples) assert.ok(written.has(JSON.stringify(sample)));
      assert.ok(read.length <= damaged.length && read.length % SAMPLE_BYTES === 0);
    }),
    runs(3_000),
  );
});

Deno.test("a file of keys that is anything else lets nobody in: it is refused", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/keys.json`;
  const contents = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    nastyJson.map((json) => new TextEncoder().encode(JSON.stringify(json) ?? "")),
  );
  await fc.assert(
    fc.asyncProperty(contents, async (bytes) => {
      await Deno.writeFile(path, bytes, { mode: 0o600 });
      await assert.rejects(readKeys(path), ConfigError);
    }),
    runs(300),
  );
  await Deno.remove(folder, { recursive: true });
});
