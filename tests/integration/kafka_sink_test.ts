import { sinkContract } from "../contracts/sink_contract.ts";
import { borrowKafka, whyNoKafka } from "../servers/kafka.ts";
import { kafkaSubject } from "../sinks/kafka_subject.ts";

const why = await whyNoKafka();
if (why === null) {
  sinkContract("kafka sink on Apache Kafka", (columns) => kafkaSubject(columns, borrowKafka), {
    noOutage: "the broker is shared with other tests, of which one kills its own",
    noLostAnswer: "the broker tells clients to come to itself, past any proxy",
  });
} else console.log(`The sink's contract is not run against Apache Kafka: ${why}`);
