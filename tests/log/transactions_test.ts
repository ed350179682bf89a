import { brokerIn, temporaryFolder } from "../broker/kafka/support.ts";
import { transactionContract } from "./transaction_contract.ts";

transactionContract("embedded broker", async () => {
  const parts = new AsyncDisposableStack();
  const folder = parts.use(temporaryFolder());
  const broker = parts.use(await brokerIn(folder.path));
  return { brokers: [broker.address], [Symbol.asyncDispose]: () => parts.disposeAsync() };
});
