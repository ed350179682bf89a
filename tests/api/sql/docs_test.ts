import assert from "node:assert/strict";
import { join } from "node:path";
import { SQL_LIMITS } from "../../../api/sql/limits.ts";
import { NESTING_MAX, SQL_CHARACTERS_MAX } from "../../../api/sql/tokens.ts";
import { askedLake } from "./small_lake.ts";

const text = await Deno.readTextFile(join(import.meta.dirname!, "../../../docs/sql.md"));

Deno.test("what docs/sql.md shows can be asked", async () => {
  await using lake = await askedLake();
  const { signal } = new AbortController();
  const blocks = Array.from(text.matchAll(/^```sql\n([\s\S]*?)^```/gm), ([, sql]) => sql);
  assert.ok(blocks.length >= 3);
  for (const sql of blocks) await lake.service.check({ sql }, { signal });
  const sent = Array.from(text.matchAll(/-d '(\{[\s\S]*?\n\})'/g), ([, body]) => JSON.parse(body));
  assert.equal(sent.length, 2);
  for (const { sql } of sent) {
    const parameters = { account: { type: "string", value: "x" }, since: { type: "timestamp", value: null } } as const;
    await lake.service.check({ sql, parameters }, { signal });
  }
  const commands = Array.from(text.matchAll(/^deno task sql .*"(.*)"/gm), ([, sql]) => sql);
  assert.equal(commands.length, 2);
  for (const sql of commands) await lake.service.check({ sql }, { signal });
});

Deno.test("the bounds that docs/sql.md tells are those that hold", () => {
  const count = new Intl.NumberFormat("en-US");
  const { questionsMax, waitingMax, waitMs, answerMs, memoryBytesMax, rowsMax, jsonRows, stallMs, totalMs, bytesMax } =
    SQL_LIMITS;
  for (
    const told of [
      `${questionsMax}, ${waitingMax} (${waitMs / 1000} s)`,
      `${answerMs / 1000} s, and ${answerMs / 1000 * SQL_LIMITS.threads + 30} s of processor`,
      `${memoryBytesMax / 2 ** 20} MiB`,
      `${count.format(SQL_CHARACTERS_MAX)} characters; ${NESTING_MAX}`,
      `${count.format(rowsMax)}; ${count.format(jsonRows)}`,
      `${bytesMax / 2 ** 30} GiB`,
      `${stallMs / 1000} s`,
      `${totalMs / 60_000} min`,
    ]
  ) assert.ok(text.includes(`| ${told}`), told);
});
