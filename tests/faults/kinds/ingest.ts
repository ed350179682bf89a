import { systemClock } from "../../../pipeline/clock.ts";
import { Cluster } from "../../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../../pipeline/log/registry_client.ts";
import type { AvroSchema } from "../../../pipeline/plan/plan.ts";
import { KafkaAdmin } from "../../../pipeline/log/admin.ts";
import { sleep, temporaryFolder, until } from "../../e2e/harness.ts";
import { sendUntilAnswered } from "../../ingest/client.ts";
import { lines, readTopic, SCHEMA } from "../../ingest/world.ts";
import { startChild } from "../../servers/child.ts";
import { freePort } from "../../servers/free_port.ts";
import { type Kind, NotExactError } from "../kind.ts";

const MAIN = new URL("../../../main.ts", import.meta.url).pathname;
const CLIENTS = 6;
const RECORDS = 500;
const NO_SECURITY = { ssl: false, sasl: null } as const;

/** Clients repeat bulk requests under their keys until they are answered, while the process and its broker are killed. */
export const ingest: Kind = {
  name: "ingest",
  what: "kill -9 under bulk requests that clients repeat",
  counts: { full: 200, short: 6 },
  async run(run) {
    await using folder = temporaryFolder();
    const [api, broker, registry] = [freePort(), freePort(), freePort()];
    const start = () =>
      startChild(Deno.execPath(), [
        ...["run", "-A", MAIN, "dev", "--pipelines", "user_profiles", "--rate", "0", "--data", `${folder.path}/data`],
        ...["--port", String(api), "--broker-port", String(broker), "--registry-port", String(registry)],
        ...["--postgres-port", "0"],
      ], { logFile: `${folder.path}/log`, cwd: Deno.cwd() });
    let running = start();
    const url = `http://127.0.0.1:${api}`;
    const isUp = async () => await fetch(`${url}/healthz`).then(({ ok }) => ok, () => false);
    let isSending = true;
    const givenUp = new AbortController();
    let sent = 0;
    let tries = 0;
    const client = async () => {
      while (isSending) {
        const n = sent++;
        const body = lines(0, RECORDS, `${n}-`);
        const answer = await sendUntilAnswered(() => `${url}/v1/topics/readings/bulk`, {
          body,
          key: `request-${n}`,
          signal: givenUp.signal,
        });
        tries += answer.tries;
        if (answer.records !== RECORDS) {
          run.findings.note("wrong", "behaviour", `request ${n}: ${answer.records} records`);
        }
      }
    };
    let clients: Promise<void>[] = [];
    try {
      await until("it is up", isUp, 60_000);
      const brokers = [`127.0.0.1:${broker}`];
      await new KafkaAdmin(brokers, NO_SECURITY, "tailrace-faults").ensureTopics([{
        topic: "readings",
        partitions: 3,
      }]);
      await createRegistryClient({ url: `http://127.0.0.1:${registry}` })
        .register("readings-value", SCHEMA as unknown as AvroSchema);
      clients = Array.from({ length: CLIENTS }, client);
      for (const one of clients) one.catch(() => {}); // looked at below
      while (run.injected < run.count) {
        await sleep(run.between(50, 2_500));
        await running.stop("SIGKILL");
        run.inject();
        const began = performance.now();
        running = start();
        await until("it is up again", isUp, 60_000);
        run.recoveredIn(performance.now() - began);
      }
      isSending = false;
      await Promise.all(clients);
      await using cluster = new Cluster(brokers, { clientId: "tailrace-faults", ...NO_SECURITY });
      const times = new Map<string, number>();
      for (const { value } of await readTopic(createCommittedLog(cluster, { clock: systemClock }), "readings")) {
        const { id } = value as { id: string };
        times.set(id, (times.get(id) ?? 0) + 1);
      }
      for (let n = 0; n < sent; n++) {
        for (let i = 0; i < RECORDS; i++) {
          const count = times.get(`${n}-${i}`) ?? 0;
          if (count === 0) run.findings.note("lost", "behaviour", `record ${i} of request ${n}, which was answered`);
          if (count > 1) {
            run.findings.note("duplicated", "behaviour", `record ${i} of request ${n} is there ${count} times`);
          }
        }
      }
      if (times.size > sent * RECORDS) run.findings.note("wrong", "behaviour", "records that nobody sent");
      run.records += sent * RECORDS;
      run.remarks.push(`${sent} requests, sent ${tries} times`);
    } finally {
      isSending = false;
      givenUp.abort();
      await running.stop("SIGKILL");
    }
    if (run.findings.total > 0) throw new NotExactError("the topic is not what was answered");
  },
};
