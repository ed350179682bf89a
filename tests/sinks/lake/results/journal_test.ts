import assert from "node:assert/strict";
import { ConfigError, UnavailableError } from "../../../../pipeline/errors.ts";
import type { Disk } from "../../../../pipeline/disk.ts";
import { Journal, TakenOverError } from "../../../../pipeline/sinks/lake/results/journal.ts";
import { finalRowsOf } from "../../../../pipeline/sinks/lake/results/rows.ts";
import { COLUMNS, resultRows } from "../../../contracts/sink_contract.ts";
import { Random } from "../../../simulation/random.ts";
import { SimDisk } from "../../../simulation/sim_disk.ts";

class PowerCut extends Error {}

const calm = () => Promise.resolve();

function journal(disk: Disk, options: { readonly table?: string; readonly fileBytesMax?: number } = {}): Journal {
  return new Journal({ folder: "d/journal", pipeline: "p", table: "t", columns: COLUMNS, disk, ...options });
}

/** Rows `first .. first + count`, told apart by their revision. */
function rows(first: number, count: number) {
  const list = Array.from({ length: count }, (_, i) => [`a-${first + i}`, 1, 0, 60_000, "1.00", first + i, true]);
  return resultRows(COLUMNS, list);
}

async function append(to: Journal, first: number, count: number): Promise<void> {
  const some = rows(first, count);
  await to.append(some, finalRowsOf(some));
}

/** The revisions of all rows, file by file. */
async function found(in_: Journal): Promise<number[]> {
  const revisions: number[] = [];
  for (const file of in_.files()) {
    for (const { values } of (await in_.read(file))!) revisions.push(...values[5] as number[]);
  }
  return revisions;
}

/** Its methods, to put others in their place. */
function bound(disk: Disk): Disk {
  return {
    makeFolder: (path) => disk.makeFolder(path),
    makeNewFolder: (path) => disk.makeNewFolder(path),
    list: (path) => disk.list(path),
    read: (path) => disk.read(path),
    open: (path, at) => disk.open(path, at),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    syncFolder: (path) => disk.syncFolder(path),
  };
}

async function simDisk(): Promise<SimDisk> {
  const disk = new SimDisk();
  const view = disk.view(calm);
  await view.makeNewFolder("d/journal");
  await view.syncFolder("d");
  return disk;
}

Deno.test("what was appended is found by the next process, and gone once it is settled", async () => {
  const disk = (await simDisk()).view(calm);
  await using first = journal(disk);
  await first.recover();
  await append(first, 0, 3);
  await append(first, 3, 2);
  await using second = journal(disk);
  await second.recover();
  assert.deepEqual(await found(second), [0, 1, 2, 3, 4]);
  assert.deepEqual([second.rows, second.bytes], [first.rows, first.bytes]);
  await append(second, 5, 1);
  await second.settle(await second.close());
  assert.deepEqual([second.rows, second.bytes, await disk.list("d/journal")], [0, 0, []]);
});

Deno.test("of two processes that take over at the same time one has the whole journal", async () => {
  const disk = (await simDisk()).view(calm);
  await using dead = journal(disk, { fileBytesMax: 1 });
  for (const first of [0, 1, 2]) await append(dead, first, 1);
  const names = await disk.list("d/journal");
  // The second has looked already when the first takes one file, and takes the others before the first comes to them.
  let looks = 0;
  await using second = journal({
    ...bound(disk),
    list: (folder) => looks++ === 0 ? Promise.resolve(names) : disk.list(folder),
  });
  let renames = 0;
  await using first = journal({
    ...bound(disk),
    rename: async (from, to) => {
      await disk.rename(from, to);
      if (renames++ === 0) await second.recover();
    },
  });
  await first.recover();
  assert.deepEqual(await found(first), [0, 1, 2]);
  for (const file of second.files()) assert.equal(await second.read(file), null);
});

Deno.test("the files of another table, and what is no journal, are left alone", async () => {
  const disk = (await simDisk()).view(calm);
  await using other = journal(disk, { table: "other" });
  await append(other, 0, 1);
  const names = [...await disk.list("d/journal"), "t.journal", "note.txt"];
  for (const name of names.slice(1)) (await disk.open(`d/journal/${name}`, "empty"))[Symbol.dispose]();
  await using mine = journal(disk);
  await mine.recover();
  assert.equal(mine.rows, 0);
  await mine.settle(await mine.close());
  assert.deepEqual(await disk.list("d/journal"), names);
});

Deno.test("a file that has grown is followed by another, and closed ones stay as they are", async () => {
  const disk = (await simDisk()).view(calm);
  await using grown = journal(disk, { fileBytesMax: 2_000 });
  for (let i = 0; i < 20; i++) await append(grown, 5 * i, 5);
  const files = await grown.close();
  assert.ok(files.length > 2);
  assert.deepEqual(files.map(({ number }) => number), files.map((_, number) => number));
  await append(grown, 100, 1);
  assert.equal(grown.files().length, files.length + 1);
  await grown.settle(files);
  assert.deepEqual(await found(grown), [100]);
});

Deno.test("a file that is held is read as it was, though it was settled since, and goes afterwards", async () => {
  const disk = (await simDisk()).view(calm);
  await using held = journal(disk);
  await append(held, 0, 2);
  const [file] = held.files();
  const hold = held.hold();
  await append(held, 2, 2);
  await held.settle(await held.close());
  const revisions = [...(await held.read(file))!].flatMap(({ values }) => values[5]);
  assert.deepEqual(revisions, [0, 1]);
  hold[Symbol.dispose]();
  hold[Symbol.dispose]();
  await append(held, 4, 1);
  await held.settle(await held.close());
  assert.deepEqual(await disk.list("d/journal"), []);
  assert.equal(await held.read(file), null);
});

Deno.test("a write that failed leaves nothing, and the next one follows what was whole before it", async () => {
  for (let at = 0;; at++) {
    const disk = await simDisk();
    let steps = 0;
    let broken = false;
    const view = disk.view(() => {
      // As a full disk does: once, and then there is space again.
      if (!broken || steps++ !== at) return Promise.resolve();
      broken = false;
      return Promise.reject(new Error("No space left on device"));
    });
    await using survivor = journal(view);
    await append(survivor, 0, 2);
    broken = true;
    const failed = await append(survivor, 10, 2).then(() => false, (error) => {
      assert.ok(error instanceof UnavailableError, String(error));
      assert.match(error.message, /d\/journal does not take the results: No space left/);
      return true;
    });
    if (!failed) {
      assert.ok(at > 3, "the failures have to reach every step");
      return;
    }
    broken = false;
    assert.deepEqual(await found(survivor), [0, 1]);
    if (at % 2 === 0) await survivor.close();
    await append(survivor, 20, 2);
    await using next = journal(disk.view(calm));
    await next.recover();
    assert.deepEqual(await found(next), [0, 1, 20, 21]);
  }
});

Deno.test("a power cut at any step leaves all that was resolved, and of one write all or nothing", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 30; seed++) {
    for (let at = 0, isCut = true; isCut; at++) {
      const random = new Random(1000 * seed + at);
      const disk = await simDisk();
      let steps = 0;
      const view = disk.view(() => ++steps > at ? Promise.reject(new PowerCut()) : Promise.resolve());
      let resolved = 0;
      const written = journal(view, { fileBytesMax: random.pick([100, 1e6]) });
      isCut = await (async () => {
        await written.recover();
        for (let i = 0; i < 3; i++) {
          await append(written, 2 * i, 2);
          resolved = 2 * i + 2;
        }
      })().then(() => false, () => true);
      disk.powerCut(random);
      await using next = journal(disk.view(calm));
      await next.recover();
      const revisions = (await found(next)).sort((a, b) => a - b);
      assert.ok(revisions.length === resolved || revisions.length === resolved + 2, `seed ${seed}, step ${at}`);
      assert.deepEqual(revisions, Array.from(revisions, (_, i) => i), `seed ${seed}, step ${at}`);
      seen.add(revisions.length === resolved ? "without the write" : "with the write");
      await append(next, 90, 1);
      await next.settle(await next.close());
      assert.deepEqual(await disk.view(calm).list("d/journal"), []);
    }
  }
  assert.deepEqual([...seen].sort(), ["with the write", "without the write"]);
});

Deno.test("damage before the end is told with the file's name, not taken for a torn end", async () => {
  const disk = await simDisk();
  const view = disk.view(calm);
  await using written = journal(view);
  await append(written, 0, 2);
  const whole = written.bytes;
  await append(written, 2, 2);
  for (const at of [12, whole - 3]) {
    const flip = async () => {
      const path = `d/journal/${(await view.list("d/journal"))[0]}`;
      const bytes = (await view.read(path))!;
      bytes[at] ^= 1;
      using file = await view.open(path, "empty");
      await file.write(bytes);
    };
    await flip();
    await assert.rejects(journal(view).recover(), (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error));
      const place =
        /^d\/journal\/t\.[0-9a-f-]{36}\.0\.[0-9a-f-]{36}\.journal: is damaged at byte \d+: .* tailrace rewind p$/;
      assert.match(error.message, place);
      return true;
    });
    await flip();
  }
  await using mended = journal(view);
  await mended.recover();
  assert.deepEqual(await found(mended), [0, 1, 2, 3]);
});

Deno.test("a write that a frozen process finishes after its journal was taken over fails, and is not mixed into the next", async () => {
  const disk = await simDisk();
  const frozen = { isNext: false, until: Promise.withResolvers<void>() };
  const view = disk.view(async (what) => {
    if (!frozen.isNext || !what.startsWith("after sync")) return;
    frozen.isNext = false;
    await frozen.until.promise;
  });
  await using former = journal(view);
  await append(former, 0, 2);
  frozen.isNext = true;
  const late = assert.rejects(append(former, 2, 2), TakenOverError);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await using next = journal(disk.view(calm));
  await next.recover();
  assert.deepEqual(await found(next), [0, 1, 2, 3], "what was on the disk by then is kept");
  frozen.until.resolve();
  await late;
  await former.close();
  assert.deepEqual(await found(next), [0, 1, 2, 3], "and stays, though its writer did not get to know");
  await append(next, 4, 1);
  // Taken back, it goes on with a journal of another name.
  await former.recover();
  await append(former, 5, 1);
  assert.deepEqual((await found(former)).sort(), [0, 1, 2, 3, 4, 5]);
  await assert.rejects(append(next, 6, 1), TakenOverError);
  const names = former.files().map(({ journal, number }) => `${journal} ${number}`);
  assert.equal(new Set(names).size, 3);
});
