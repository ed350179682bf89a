import assert from "node:assert/strict";
import { join } from "node:path";
import { startBrokerWorker } from "../../broker/kafka/mod.ts";
import { kafkaClassPath, whyNoKafka } from "../servers/kafka.ts";

const why = await whyNoKafka();
if (why !== null) console.log(`Java clients are not tried against the embedded broker: ${why}`);

Deno.test({
  name: "Java's transactional producer, committed reader and admin client work with the embedded broker",
  ignore: why !== null,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "tailrace_java_" });
    const lines: string[] = [];
    try {
      await using broker = await startBrokerWorker({
        host: "127.0.0.1",
        port: 0,
        dataDir: folder,
        log: (line) => lines.push(line),
      });
      const { stdout, stderr } = await new Deno.Command("java", {
        args: [
          "-Xmx256m",
          "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
          "-cp",
          await kafkaClassPath(),
          join(import.meta.dirname!, "BrokerClients.java"),
          `127.0.0.1:${broker.port}`,
        ],
        stdin: "null",
      }).output();
      const text = new TextDecoder();
      const done = "commit and abort\ncopy with offsets\nfencing\ntime-out\nadmin\n";
      assert.equal(text.decode(stdout), done, `${text.decode(stderr)}\nThe broker:\n${lines.join("\n")}`);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
