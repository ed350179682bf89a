// The line about sources and deliveries on the dashboard.
import { summary, summaryNodes } from "./connector_words.js";
import { el } from "./elements.js";

const POLL_MS = 5_000;

/** Keeps the line in `element` as things are; it is hidden where there is nothing to tell. */
export function showConnectors(element) {
  async function poll() {
    try {
      const response = await fetch("/v1/connectors", { signal: AbortSignal.timeout(4_000), cache: "no-store" });
      // Here no engine runs.
      if (response.status === 501) return;
      if (response.ok) draw((await response.json()).connectors);
    } catch {
      // The page says already that the server does not answer.
    }
    setTimeout(poll, POLL_MS);
  }

  function draw(connectors) {
    element.hidden = connectors.length === 0;
    const words = JSON.stringify(summary(connectors));
    if (element.dataset.words === words) return;
    element.dataset.words = words;
    element.replaceChildren(
      el("a", { href: "/connectors" }, "Sources and deliveries"),
      ": ",
      ...summaryNodes(connectors),
    );
  }

  poll();
}
