/** A source of topics in a process of its own, to be killed: takes its options in JSON and forwards until the end. */
import { Forwarding, type ForwardingOptions } from "../sources/kafka_topics/forwarding.ts";

await using forwarding = Forwarding.start(JSON.parse(Deno.args[0]) as ForwardingOptions);
console.log("forwarding");
await forwarding.ended;
