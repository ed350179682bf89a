import { sinkContract } from "../../../contracts/sink_contract.ts";
import { lakeSubject } from "./lake_subject.ts";

sinkContract("lake sink", lakeSubject, {
  finalOnly: true,
  noFence:
    "PostgreSQL says who writes; here an older process's rows cannot replace newer ones, which has a test of its own",
  noLostAnswer: "a write is in a file of the local disk when it resolves",
  noOutage: "writes go on while the lake is away, up to a bound; that has tests of its own",
});
