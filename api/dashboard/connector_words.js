// How sources and deliveries are, in words; for their page and for the line about them on the dashboard.
import { el } from "./elements.js";

/** A state's word and its colour. */
export const STATES = {
  running: ["running", "good"],
  starting: ["starting", "warn"],
  waiting: ["waiting", "warn"],
  failed: ["failed", "bad"],
  stopped: ["at rest", ""],
};

/** How many are how: [["5 run", "good"], ["1 waits", "warn"]], each with its colour; nothing when there are none. */
export function summary(connectors) {
  const words = [
    ["running", "runs", "run"],
    ["starting", "starts", "start"],
    ["waiting", "waits", "wait"],
    ["stopped", "rests", "rest"],
    ["failed", "failed", "failed"],
  ];
  return words.flatMap(([state, one, many]) => {
    const count = connectors.filter((connector) => connector.state === state).length;
    return count === 0 ? [] : [[`${count} ${count === 1 ? one : many}`, STATES[state][1]]];
  });
}

/** The same as a sentence, in which what failed stands out. */
export function summaryNodes(connectors) {
  return summary(connectors).flatMap(([words, tone], i) => [
    i === 0 ? "" : ", ",
    el("span", tone === "bad" ? { class: tone } : {}, words),
  ]);
}
