import assert from "node:assert/strict";
import { UnavailableError } from "../../../pipeline/errors.ts";
import type { SourceState } from "../../../pipeline/sources/positions.ts";
import { runSource } from "../../../pipeline/sources/source_task.ts";
import { MemoryLog } from "../../sinks/memory_log.ts";
import { ProfileApi } from "../../servers/profile_api.ts";
import { EagerClock, MAP, open } from "./support.ts";

Deno.test("an API that fails, into a log that fails: each state of each user is in the topic once, and the counts add up", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    let state = seed;
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    await using api = new ProfileApi({ pageSize: 7 });
    const clock = new EagerClock();
    clock.lookMs = 700;
    let writes = 0;
    const change = () => {
      const id = Math.floor(random() * 60);
      api.put(id, clock.ms - Math.floor(random() * 1_000), { name: `User ${id}, ${writes++}` });
    };
    for (let i = 0; i < 60; i++) api.put(i, clock.ms - 1e9 + i, { name: `User ${i}, ${writes++}` });
    const log = new MemoryLog({
      fate: () => (["refuse", "lose", "late"] as const)[Math.floor(random() * 30)] ?? "pass",
    });
    const states: SourceState[] = [];
    /** One bounded run, however often it has to start again. */
    const round = async () => {
      for (let runs = 0;; runs++) {
        assert.ok(runs < 200, `seed ${seed}`);
        try {
          return await runSource({
            name: "profiles",
            topic: "profiles",
            rejectedTopic: "profiles.rejected",
            clock,
            publisher: log.publisher("tailrace.source.profiles"),
            log,
            open: () => {
              if (random() < 0.5) {
                api.faults.push(() => new Response("", { status: 503, headers: { "retry-after": "1" } }));
              }
              return Promise.resolve(open({
                url: api.url(),
                records: "users",
                map: MAP,
                paging: { by: "link" },
                since: { path: "updated_at", as: "time", to: { query: "updated_since" } },
              }, { clock }));
            },
            limit: () => Promise.resolve(),
            onWaiting: () => {},
            onState: (state) => void states.push(state),
          }, { signal: new AbortController().signal, isBounded: true });
        } catch (error) {
          if (!(error instanceof UnavailableError)) throw error;
        }
      }
    };
    const seen = new Set<string>();
    const look = () => api.users.forEach(({ id, name }) => seen.add(`${id} ${name}`));
    look();
    await round();
    for (let i = 0; i < 3; i++) {
      for (let changes = 0; changes < 10; changes++) change();
      look();
      await round();
    }
    log.fate = () => "pass";
    log.settle();
    const names = log.topic("profiles").flat().map(({ key, value }) => {
      const found = /User \d+, \d+/.exec(new TextDecoder().decode(value!));
      return `${new TextDecoder().decode(key!)} ${found![0]}`;
    });
    assert.deepEqual(names.sort(), [...seen].sort(), `seed ${seed}`);
    const { counts } = states.at(-1)!;
    assert.equal(counts.written, names.length);
    assert.equal(counts.read, counts.written + counts.skipped + counts.rejected);
  }
});
