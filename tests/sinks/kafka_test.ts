import { sinkContract } from "../contracts/sink_contract.ts";
import { kafkaSubject } from "./kafka_subject.ts";

sinkContract("kafka sink", (columns) => kafkaSubject(columns));
