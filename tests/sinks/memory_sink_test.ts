import { sinkContract } from "../contracts/sink_contract.ts";
import { memorySubject } from "./memory_sink.ts";

sinkContract("memory sink", memorySubject, { noOutage: "it has no other side" });
