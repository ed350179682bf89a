import assert from "node:assert/strict";
import { brokerIn, temporaryFolder } from "./support.ts";
import { TransactionClient } from "./transaction_client.ts";

const kcatIsHere = await new Deno.Command("kcat", { args: ["-V"], stdout: "null", stderr: "null" }).output()
  .then(() => true, () => false);
if (!kcatIsHere) console.log("kcat is not installed (Debian: apt-get install kcat): its tests are skipped.");

async function kcat(args: string[], input = ""): Promise<string> {
  const child = new Deno.Command("kcat", { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  assert.ok(success, `kcat ${args.join(" ")}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

Deno.test({
  name: "kcat produces with every compression and reads all of it back, whole and in a group",
  ignore: !kcatIsHere,
  fn: async () => {
    using folder = temporaryFolder();
    await using broker = await brokerIn(folder.path);
    const at = ["-b", broker.address, "-t", "t"];
    const expected: string[] = [];
    for (const codec of ["none", "gzip", "lz4", "zstd", "snappy"]) {
      const lines = Array.from({ length: 200 }, (_, i) => `${codec} ${i} ${"x".repeat(i)}`);
      await kcat([...at, "-P", "-z", codec, "-X", "acks=all"], lines.join("\n") + "\n");
      expected.push(...lines);
    }
    const plain = await kcat([...at, "-C", "-e", "-q"]);
    assert.deepEqual(plain.replace(/\n$/, "").split("\n").sort(), expected.sort());

    const group = ["-b", broker.address, "-X", "auto.offset.reset=earliest", "-e", "-q", "-G", "g", "t"];
    assert.deepEqual((await kcat(group)).replace(/\n$/, "").split("\n").sort(), expected.sort());
    assert.equal(await kcat(group), "", "the group has committed: nothing is left for its second run");

    const listing = await kcat(["-b", broker.address, "-L"]);
    assert.match(listing, /topic "t" with 4 partitions/);
  },
});

Deno.test({
  name: "kcat's idempotent producer and a query by time work",
  ignore: !kcatIsHere,
  fn: async () => {
    using folder = temporaryFolder();
    await using broker = await brokerIn(folder.path, { defaultPartitions: 1 });
    await kcat(["-b", broker.address, "-t", "t", "-P", "-X", "enable.idempotence=true"], "a\nb\nc\n");
    assert.match(await kcat(["-b", broker.address, "-Q", "-t", "t:0:0"]), /t \[0\] offset 0/);
    assert.equal(await kcat(["-b", broker.address, "-t", "t", "-C", "-e", "-q", "-o", "1"]), "b\nc\n");
  },
});

Deno.test({
  name: "kcat reads what is committed, in transactions of its own and of others, and waits for no open one",
  ignore: !kcatIsHere,
  fn: async () => {
    using folder = temporaryFolder();
    await using broker = await brokerIn(folder.path, { defaultPartitions: 1 });
    using producer = await TransactionClient.open(broker, "a");
    await producer.client.createTopic("t");
    assert.equal(await producer.initialize(), 0);
    const expected: string[] = [];
    for (let number = 0; number < 30; number++) {
      assert.deepEqual(await producer.addPartitions("t", [0]), [0]);
      assert.equal(await producer.produce("t", 0, [`${number} a`, `${number} b`]), 0);
      assert.equal(await producer.end(number % 3 > 0), 0);
      if (number % 3 > 0) expected.push(`${number} a`, `${number} b`);
    }
    const at = ["-b", broker.address, "-t", "t"];
    await kcat([...at, "-P", "-X", "transactional.id=kcat"], "c\nd\n");
    assert.deepEqual(await producer.addPartitions("t", [0]), [0]);
    assert.equal(await producer.produce("t", 0, ["open"]), 0);
    const read = async (isolation: string) =>
      (await kcat([...at, "-C", "-e", "-q", "-X", `isolation.level=${isolation}`])).trimEnd().split("\n");
    assert.deepEqual(await read("read_committed"), [...expected, "c", "d"]);
    assert.equal((await read("read_uncommitted")).length, 63);
  },
});
