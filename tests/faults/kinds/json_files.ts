import { createDiskStore } from "../../../pipeline/sinks/lake/disk_store.ts";
import { jsonFiles as destination } from "../../../pipeline/mod.ts";
import { item, world } from "../../deliveries/world.ts";
import { sleep } from "../../e2e/harness.ts";
import { readFiles } from "../../sinks/files/read_files.ts";
import { startChild } from "../../servers/child.ts";
import { type Kind, NotExactError } from "../kind.ts";

const PARTITIONS = 4;
const CONSUMERS = 2;
const RECORDS_AT_ONCE = 150;
/** Of this many kills one leaves another process at work, which takes the partitions over. */
const SHARED_EVERY = 3;
const DELIVERER = new URL("../json_files/deliverer.ts", import.meta.url).pathname;

/** Processes with the consumers of a delivery are killed while records come in; then the files are compared with the log. */
export const jsonFiles: Kind = {
  name: "json-files",
  what: "kill -9 of processes that deliver to JSON files",
  counts: { full: 200, short: 6 },
  async run(run) {
    await using at = await world(PARTITIONS);
    let written = 0;
    let isWriting = true;
    const writing = (async () => {
      while (isWriting) {
        await at.write(Array.from({ length: RECORDS_AT_ONCE }, (_, i) => item(written + i)));
        written += RECORDS_AT_ONCE;
        await sleep(30);
      }
    })();
    writing.catch(() => {});
    const start = () =>
      startChild(Deno.execPath(), [
        ...["run", "-A", DELIVERER, at.brokers[0], at.dataDir, String(PARTITIONS), String(CONSUMERS)],
      ], { logFile: `${at.dataDir}/deliverer.log`, cwd: Deno.cwd() });
    let running = start();
    try {
      while (run.injected < run.count) {
        await sleep(run.between(300, 1_500));
        const isShared = run.injected % SHARED_EVERY === 0;
        const heir = isShared ? start() : null;
        if (heir !== null) await sleep(run.between(200, 1_200));
        await running.stop("SIGKILL");
        run.inject();
        running = heir ?? start();
        run.recoveredIn(0);
      }
    } finally {
      isWriting = false;
      await writing;
      await running.stop("SIGKILL");
    }
    const began = performance.now();
    const last = await at.delivery({ to: [destination("items")], consumers: CONSUMERS });
    await last.run(AbortSignal.timeout(120_000), { isBounded: true });
    run.recovered--;
    run.recoveredIn(performance.now() - began);
    const store = createDiskStore({ folder: `${at.dataDir}/files/items` });
    const { lines, manifests } = await readFiles(store);
    const times = new Map<number, number>();
    for (const { id } of lines) times.set(id as number, (times.get(id as number) ?? 0) + 1);
    for (let id = 0; id < written; id++) {
      const count = times.get(id) ?? 0;
      if (count === 0) run.findings.note("lost", "behaviour", `record ${id} is in no file that counts`);
      if (count > 1) run.findings.note("duplicated", "behaviour", `record ${id} is in ${count} files that count`);
      times.delete(id);
    }
    for (const id of times.keys()) run.findings.note("wrong", "behaviour", `record ${id} was never written`);
    const { counts } = last.status();
    if (counts.read !== written || counts.written !== written) {
      run.findings.note("wrong", "ledger", `${JSON.stringify(counts)} of ${written} records`);
    }
    run.records += written;
    run.remarks.push(`${manifests.length} files`);
    if (run.findings.total > 0) throw new NotExactError("the files are not what the log is");
  },
};
