import { SETTINGS } from "./config.ts";

const option = ({ flag, placeholder, help, variable }: typeof SETTINGS[keyof typeof SETTINGS], standard: string) => ({
  flag,
  placeholder,
  help: `${help.split(";")[0]} (${variable}, default ${standard})`,
});

/** What `tailrace replay` takes. */
export const REPLAY_OPTIONS = [
  { flag: "topic", placeholder: "TOPIC", help: "where to; made when it is not there" },
  {
    flag: "speed",
    placeholder: "max|1x|60x",
    help: "as fast as it goes (default), or by event time: 60x plays a minute a second",
  },
  {
    flag: "event-time",
    placeholder: "COLUMN",
    help: "order and pace by this; default: the event time of the pipeline that reads the topic",
  },
  {
    flag: "from-row",
    placeholder: "N",
    help: "pass over the rows before this one, in that order: goes on after a failure",
  },
  {
    flag: "key",
    placeholder: "COLUMN",
    help: "the records' key; default: the first key of the pipeline that reads the topic",
  },
  {
    flag: "schema",
    placeholder: "FILE",
    help: "Avro schema (.avsc); default: that pipeline's, or one inferred from the columns",
  },
  option(SETTINGS.brokers, "127.0.0.1:9092"),
  option(SETTINGS.registry, "http://127.0.0.1:8081"),
  option(SETTINGS.partitions, "4"),
];
