import { transactionContract } from "../log/transaction_contract.ts";
import { borrowKafka, whyNoKafka } from "../servers/kafka.ts";

const why = await whyNoKafka();
if (why === null) transactionContract("Apache Kafka", borrowKafka);
else console.log(`Transactions are not tried on Apache Kafka: ${why}`);
