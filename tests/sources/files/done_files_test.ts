import assert from "node:assert/strict";
import { POSITION_BYTES_MAX } from "../../../pipeline/sources/source.ts";
import { DONE_MAX, DoneFiles } from "../../../pipeline/sources/files/done_files.ts";

const file = (i: number, size = 1) => ({ name: `incoming/${i}.csv`, size, mtimeMs: 1_769_850_000_000 + i });

Deno.test("a file is known again by name, size and time, also after the position went through JSON", () => {
  const done = new DoneFiles();
  done.add(file(1));
  const again = new DoneFiles(JSON.parse(JSON.stringify(done)));
  assert.deepEqual([again.look(file(1)), again.look(file(1, 2)), again.look(file(2))], ["done", "changed", "new"]);
});

Deno.test("as many files are remembered as a position has room for; those that are gone make room", () => {
  const done = new DoneFiles();
  for (let i = 0; i < DONE_MAX; i++) done.add(file(i));
  assert.ok(JSON.stringify(done).length < 0.5 * POSITION_BYTES_MAX);
  const present = Array.from({ length: DONE_MAX }, (_, i) => file(i));
  assert.equal(done.makeRoom(present), false, "all are still there");
  assert.equal(done.makeRoom(present.slice(100)), true);
  assert.equal(done.size, DONE_MAX - 100);
  assert.deepEqual([done.look(file(5)), done.look(file(100))], ["new", "done"]);
});
