import assert from "node:assert/strict";
import fc from "fast-check";
import type { HttpPollOptions } from "../../../pipeline/sources/http/definition.ts";
import { ProfileApi } from "../../servers/profile_api.ts";
import { EagerClock, MAP, open, run, Written } from "./support.ts";

const BEFORE = Date.parse("2026-11-01T00:00:00Z");
const SINCE: HttpPollOptions["since"] = { path: "updated_at", as: "time", to: { query: "updated_since" } };

function filled(users: number, pageSize = 10): ProfileApi {
  const api = new ProfileApi({ pageSize });
  for (let id = 0; id < users; id++) api.put(id, BEFORE + id * 60_000);
  return api;
}

const KINDS: Readonly<Record<string, (api: ProfileApi) => HttpPollOptions>> = {
  link: (api) => ({ url: api.url(), records: "users", paging: { by: "link" } }),
  cursor: (api) => ({
    url: api.url("/cursor"),
    records: "data.users",
    paging: { by: "cursor", path: "next", to: { query: "cursor" } },
  }),
  page: (api) => ({ url: api.url("/page"), paging: { by: "page", to: { query: "page" } } }),
  offset: (api) => ({ url: api.url("/offset"), paging: { by: "offset", to: { query: "offset" } } }),
  "cursor in the body of a POST": (api) => ({
    url: api.url("/search"),
    method: "POST",
    body: { kind: "user" },
    records: "data.users",
    paging: { by: "cursor", path: "next", to: { body: "page.token" } },
  }),
  "kept cursor": (api) => ({
    url: api.url("/events"),
    records: "events",
    paging: { by: "cursor", path: "next", to: { query: "after" }, keep: true, more: "more" },
  }),
};

for (const [kind, options] of Object.entries(KINDS)) {
  Deno.test(`all records come once and in order, page after page: ${kind}`, async () => {
    await using api = filled(95);
    const clock = new EagerClock();
    const written = new Written();
    const read = () => run(open({ ...options(api), map: MAP }, { clock }), written, { clock });
    await read();
    assert.deepEqual(written.ids, Array.from({ length: 95 }, (_, id) => String(id)));
    assert.deepEqual(written.records[1], {
      user_id: "1",
      name: "User 1",
      email: "user1@example.com",
      country: "FR",
      tier: "free",
      updated_at: "2026-11-01T00:01:00.000Z",
    });
    api.put(3, BEFORE + 9e9, { tier: "plus" });
    await read();
    assert.equal(written.records.length, 96);
    assert.deepEqual([written.records[95].user_id, written.records[95].tier], ["3", "plus"]);
  });

  Deno.test(`killed between any two batches it loses nothing and doubles nothing: ${kind}`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 6 })), { maxLength: 8 }),
        async (users, pageSize, lives) => {
          await using api = filled(users, pageSize);
          const clock = new EagerClock();
          clock.lookMs = 2_000;
          const written = new Written();
          let changed = users;
          for (const [batches, changes] of lives) {
            await run(open({ ...options(api), map: MAP }, { clock }), written, { clock, batches });
            for (let i = 0; i < changes; i++) api.put(1000 + changed, BEFORE + changed++ * 60_000);
          }
          await run(open({ ...options(api), map: MAP }, { clock }), written, { clock });
          const expected = api.changes.map(({ id }) => id).sort();
          assert.deepEqual(written.ids.sort(), expected);
        },
      ),
      { numRuns: 20 },
    );
  });
}

Deno.test("a round asks for what changed since the last one, with an overlap of which only what is new is written", async () => {
  await using api = filled(30, 100);
  const clock = new EagerClock();
  const written = new Written();
  const read = () =>
    run(open({ url: api.url(), records: "users", map: MAP, since: SINCE }, { clock }), written, { clock });
  await read();
  assert.deepEqual(api.asked, ["/users"]);
  // Committed late: its time is before the largest that was read, within the overlap.
  api.put(100, BEFORE + 29 * 60_000 - 30_000);
  api.put(101, BEFORE + 31 * 60_000);
  await read();
  assert.equal(api.asked[1], "/users?updated_since=2026-11-01T00%3A28%3A00.000Z");
  assert.deepEqual(written.ids.slice(30), ["100", "101"]);
  assert.equal(written.skipped, 2);
  api.put(101, BEFORE + 31 * 60_000, { tier: "plus" });
  await read();
  assert.deepEqual(written.ids.slice(32), ["101"]);
  assert.deepEqual(written.records.at(-1)!.tier, "plus");
});

for (const [how, since] of [["since", { ...SINCE, overlap: "2 hours" }], ["everything", undefined]] as const) {
  Deno.test(`a record that shifting pages hid from one round is no new one in the next: asked for ${how}`, async () => {
    await using api = filled(25);
    const clock = new EagerClock();
    const written = new Written();
    const read = () =>
      run(
        open({ url: api.url(), records: "users", map: MAP, paging: { by: "link" }, since }, { clock }),
        written,
        { clock },
      );
    await read();
    // Changed when its page was read and the next was not: each of the others moves up, and user 10 is on no page of this round.
    api.faults.push(() => null, () => (api.put(0, BEFORE + 26 * 60_000, { tier: "plus" }), null));
    await read();
    assert.deepEqual(written.ids.slice(25), ["0"]);
    await read();
    assert.deepEqual(written.ids.slice(26), []);
    // What changed is always a new one.
    api.put(10, BEFORE + 27 * 60_000, { tier: "plus" });
    await read();
    assert.deepEqual(written.ids.slice(26), ["10"]);
  });
}

Deno.test("a record of the far future does not hide those that come after it", async () => {
  await using api = filled(3, 100);
  api.put(50, Date.parse("9999-12-31T00:00:00Z"));
  const clock = new EagerClock();
  const written = new Written();
  const read = () =>
    run(open({ url: api.url(), records: "users", map: MAP, since: SINCE }, { clock }), written, { clock });
  await read();
  clock.ms += 1_000;
  api.put(51, clock.ms);
  await read();
  assert.deepEqual(written.ids, ["0", "1", "2", "50", "51"]);
});

Deno.test("rounds are cut short by the answer that nothing has changed, and what came before is still known after it", async () => {
  await using api = filled(5, 100);
  const clock = new EagerClock();
  const written = new Written();
  const read = () => run(open({ url: api.url(), records: "users", map: MAP }, { clock }), written, { clock });
  await read();
  const { batches } = written;
  await read();
  await read();
  assert.equal(written.batches, batches, "a round in which nothing came leaves nothing to commit");
  api.put(9, BEFORE);
  await read();
  assert.deepEqual(api.answered, [200, 304, 304, 200], "with the ETag of the last answer, also after a restart");
  assert.deepEqual(written.ids, ["0", "1", "2", "3", "4", "9"]);
  assert.equal(written.skipped, 5);
});

Deno.test("with repeats written, every round writes what it reads", async () => {
  await using api = filled(3, 2);
  const clock = new EagerClock();
  const written = new Written();
  const options: HttpPollOptions = { url: api.url("/page"), map: MAP, paging: { by: "page", to: { query: "page" } } };
  for (let round = 0; round < 2; round++) {
    await run(open({ ...options, repeats: "write" }, { clock }), written, { clock });
  }
  assert.deepEqual(written.ids, ["0", "1", "2", "0", "1", "2"]);
});

Deno.test("rounds begin when they are due, by interval and by cron, also after a restart", async () => {
  await using api = filled(1);
  const clock = new EagerClock();
  clock.ms = Date.parse("2026-11-21T12:07:30Z");
  const times: string[] = [];
  api.put(0, clock.ms);
  const options = { url: api.url(), records: "users", map: MAP };
  const written = new Written();
  const roundOf = (schedule: Partial<HttpPollOptions>, batches: number) =>
    run(open({ ...options, ...schedule }, { clock }), written, { clock, batches, isBounded: false });
  const note = () => {
    times.push(new Date(clock.ms).toISOString().slice(11, 19));
    api.put(0, clock.ms);
    return null;
  };
  for (let i = 0; i < 20; i++) api.faults.push(note);
  await roundOf({ every: "10m" }, 3);
  // One more was asked for when it was killed; the position is that of the third.
  assert.deepEqual(times.slice(0, 3), ["12:07:30", "12:17:30", "12:27:30"]);
  clock.ms = Date.parse("2026-11-21T14:00:30Z");
  times.length = 0;
  await roundOf({ cron: "*/15 * * * *" }, 2);
  assert.deepEqual(times.slice(0, 2), ["14:00:30", "14:15:00"]);
});

Deno.test("a round of too many pages goes on with the next one", async () => {
  await using api = filled(50);
  const clock = new EagerClock();
  const written = new Written();
  const warnings: string[] = [];
  const source = open({ ...KINDS.link(api), map: MAP, pagesMax: 2, every: "1h" }, {
    clock,
    log: (text) => warnings.push(text),
  });
  const began = clock.ms;
  await run(source, written, { clock, batches: 3, isBounded: false });
  assert.equal(written.ids.length, 50);
  assert.match(warnings[0], /a round ends after 2 pages/);
  assert.ok(clock.ms - began >= 2 * 3_600_000);
});

Deno.test("a page that no longer is there lets the round begin again, without doubles", async () => {
  await using api = filled(40);
  const clock = new EagerClock();
  const written = new Written();
  const gone = () => new Response("cursor expired", { status: 410 });
  api.faults.push(() => null, () => null, gone, gone, gone);
  await run(open({ ...KINDS.cursor(api), map: MAP }, { clock }), written, { clock });
  assert.deepEqual(written.ids, Array.from({ length: 40 }, (_, id) => String(id)));
  assert.equal(written.skipped, 20);
});

Deno.test("a definition that was changed begins its pages anew, and knows what came before", async () => {
  await using api = filled(40);
  const clock = new EagerClock();
  clock.lookMs = 2_000;
  const written = new Written();
  await run(open({ ...KINDS.page(api), map: MAP }, { clock }), written, { clock, batches: 2 });
  assert.equal(written.ids.length, 20);
  await run(open({ ...KINDS.link(api), map: MAP }, { clock }), written, { clock });
  assert.deepEqual(written.ids, Array.from({ length: 40 }, (_, id) => String(id)));
});
