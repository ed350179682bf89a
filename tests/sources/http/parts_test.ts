import assert from "node:assert/strict";
import fc from "fast-check";
import { parseJsonPath, valueAt, withValueAt } from "../../../pipeline/sources/http/json_path.ts";
import { linkNext } from "../../../pipeline/sources/http/paging.ts";
import { parseSchedule } from "../../../pipeline/sources/http/schedule.ts";
import { hashOf, Seen, SEEN_MAX } from "../../../pipeline/sources/http/seen.ts";
import { sinceReader, sinceValue } from "../../../pipeline/sources/http/since.ts";

Deno.test("paths lead through fields and items, and to nothing that is inherited", () => {
  const value = { a: { b: [{ c: 1 }] }, "odd.name": { '"x"': 2 } };
  const at = (text: string) => {
    const path = parseJsonPath(text);
    assert.ok(typeof path !== "string", text);
    return valueAt(value, path);
  };
  assert.equal(at(""), value);
  assert.equal(at("a.b[0].c"), 1);
  assert.equal(at(`["odd.name"]["\\"x\\""]`), 2);
  for (const none of ["a.x", "a.b[1]", "a.b.c", "a.b.length.x", "constructor", "__proto__", "a.b[0].c.d", "toString"]) {
    assert.equal(at(none), undefined, none);
  }
  for (const wrong of ["a..b", ".a", "a.", "a[", "a[-1]", "a[x]", "a b]", `["x]`, 5, null, "a" + ".a".repeat(40)]) {
    assert.equal(typeof parseJsonPath(wrong), "string", String(wrong));
  }
  assert.deepEqual(withValueAt({ a: { b: 1 } }, ["a", "c", 1], 2), { a: { b: 1, c: [, 2] } });
});

Deno.test("the next page is found in a Link header, and hostile headers cost no time", () => {
  for (
    const [header, next] of [
      [`<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last"`, "https://a/?page=2"],
      [`<https://a/?page=1>; rel="prev" , <https://a/?q=a,b;c>;  REL=next`, "https://a/?q=a,b;c"],
      [`</x>; title="a, rel=\\"no\\""; rel="prefetch next"`, "/x"],
      [`<https://a/?page=1>; rel="prev"`, null],
      [`https://a/; rel=next`, null],
      ["", null],
      [null, null],
    ] as const
  ) assert.equal(linkNext(header), next);
  const began = performance.now();
  for (
    const hostile of [
      "<".repeat(50_000),
      `<a>${"; x".repeat(20_000)}`,
      `<a>; ${'a="'.repeat(20_000)}`,
      " ".repeat(50_000),
    ]
  ) {
    assert.equal(linkNext(hostile), null);
  }
  assert.ok(performance.now() - began < 2_000);
});

Deno.test("rounds are due by interval and by cron, in a time zone over its changes", () => {
  const at = (schedule: { every?: string; cron?: string; timezone?: string }, from: string) => {
    const found = parseSchedule(schedule);
    assert.ok(typeof found !== "string", String(found));
    return new Date(found.after(Date.parse(from))).toISOString();
  };
  assert.equal(at({}, "2026-01-01T00:00:00Z"), "2026-01-01T00:01:00.000Z");
  assert.equal(at({ every: "90s" }, "2026-01-01T00:00:00Z"), "2026-01-01T00:01:30.000Z");
  assert.equal(at({ cron: "0 6 * * 1-5" }, "2026-11-20T06:00:00Z"), "2026-11-23T06:00:00.000Z");
  assert.equal(
    at({ cron: "0 6 * * *", timezone: "Europe/Berlin" }, "2026-10-24T10:00:00Z"),
    "2026-10-25T05:00:00.000Z",
  );
  for (
    const wrong of [{ every: "0s" }, { every: "1s", cron: "* * * * *" }, { cron: "* * * * *", timezone: "Mars/Base" }]
  ) {
    assert.equal(typeof parseSchedule(wrong), "string", JSON.stringify(wrong));
  }
});

Deno.test("since-values are read as the definition says, and nothing else is", () => {
  assert.equal(sinceValue("2026-01-01T00:00:00.123456Z", "time"), Date.parse("2026-01-01T00:00:00.123Z"));
  assert.equal(sinceValue("2026-01-01 01:00:00+01:00", "time"), Date.parse("2026-01-01T00:00:00Z"));
  assert.equal(sinceValue("2026-01-01T00:00:00", "time"), Date.parse("2026-01-01T00:00:00Z"));
  assert.equal(sinceValue(1_700_000_000, "seconds"), 1_700_000_000_000);
  assert.equal(sinceValue("17", "number"), 17);
  for (
    const [value, as] of [[5, "time"], ["today", "time"], ["x", "number"], [null, "millis"], [NaN, "number"], [
      {},
      "seconds",
    ]] as const
  ) {
    assert.equal(sinceValue(value, as), null);
  }
  const since = sinceReader({ path: "u", as: "seconds", to: { query: "s" }, overlap: "10s", start: 100 });
  assert.deepEqual([since.asked(null), since.asked(105_000), since.asked(500_000)], [100_000, 100_000, 490_000]);
  assert.equal(since.text(490_999), 490);
});

Deno.test("records are known again over restarts at any point, up to the bound", () => {
  fc.assert(fc.property(
    fc.array(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 12 }), { maxLength: 6 }),
    fc.integer({ min: 1, max: 5 }),
    (rounds, restartEvery) => {
      let seen = new Seen(null);
      // What a round missed is known for one more.
      let [before, missed] = [new Set<number>(), new Set<number>()];
      let steps = 0;
      for (const round of rounds) {
        const now = new Set<number>();
        for (const item of round) {
          const isKnown = missed.has(item) || before.has(item) || now.has(item);
          assert.equal(seen.meet({ hash: hashOf(String(item)), since: item }), isKnown);
          now.add(item);
          if (++steps % restartEvery === 0) seen = new Seen(JSON.parse(JSON.stringify(seen.state())));
        }
        seen.endRound(null);
        [before, missed] = [now, before.difference(now)];
      }
    },
  ));
  const seen = new Seen(null);
  for (let item = 0; item < SEEN_MAX + 500; item++) seen.meet({ hash: hashOf(String(item)), since: item });
  seen.trim(100);
  assert.deepEqual([seen.size, seen.forgotten], [SEEN_MAX, 400]);
  assert.ok(JSON.stringify(seen.state()).length < 400_000);
});

Deno.test("what rounds missed is known, over restarts, while the since-cursor can still ask for it, and within the bound", () => {
  const meets = (seen: Seen, item: number) => seen.meet({ hash: hashOf(String(item)), since: item });
  let seen = new Seen(null);
  for (const item of [10, 20, 30]) assert.equal(meets(seen, item), false);
  seen.endRound(10, 30);
  for (let round = 0; round < 5; round++) {
    assert.equal(meets(seen, 30), true);
    seen.endRound(15, 30);
    seen = new Seen(JSON.parse(JSON.stringify(seen.state())));
  }
  assert.equal(meets(seen, 20), true);
  meets(seen, 60);
  seen.endRound(31, 60);
  // Where 10 was is not known since the restart: at 60 at most.
  assert.equal(seen.size, 2);
  seen.endRound(61, 90);
  assert.equal(seen.size, 0);
  // What was missed is what is forgotten first, and nothing that mattered.
  for (let item = 100; item < 100 + SEEN_MAX; item++) meets(seen, item);
  seen.endRound(31, 100 + SEEN_MAX);
  for (let item = 1_000_000; item < 1_000_000 + SEEN_MAX - 100; item++) meets(seen, item);
  seen.endRound(31, 1_000_000);
  seen.trim(31);
  assert.deepEqual([seen.size, seen.forgotten], [SEEN_MAX, 0]);
  assert.equal(meets(seen, 1_000_000), true);
});
