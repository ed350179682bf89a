import assert from "node:assert/strict";
import { createMetrics } from "../../api/metrics.ts";
import { fakeAuditor } from "../api/fake_audit.ts";
import { connectorStatus } from "../api/fake_connectors.ts";
import { pipelineStatus } from "../api/fake_deps.ts";
import { lakeWorld } from "../api/lake_world.ts";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}

const FILE = new URL("../../deploy/grafana/tailrace.json", import.meta.url);

/** Every series that /metrics can give, as its name and the names of its labels. */
async function given(): Promise<Map<string, Set<string>>> {
  await using world = await lakeWorld();
  await world.write();
  const metrics = createMetrics(() => [
    pipelineStatus({
      checkpointAtMs: 1,
      watermarkDelaySeconds: 1,
      partitions: [{ partition: 0, position: 1, end: 2, lagRecords: 1, lagSeconds: 0, watermarkMs: 1, idle: false }],
    }),
  ], {
    connectors: () => [connectorStatus({ lagRecords: 1, limitPerSecond: 1, details: { lostRecords: 0 } })],
    audit: [fakeAuditor()],
    lake: world.desk,
    live: () => ({ clients: 0, dropped: 0, ringRows: 0, ringBytes: 0, events: 0 }),
  });
  const labels = new Map<string, Set<string>>();
  for (const [, name, pairs = ""] of (await metrics.text()).matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const known = labels.get(name) ?? new Set(["instance", "job"]);
    for (const [, label] of pairs.matchAll(/(\w+)="/g)) known.add(label);
    labels.set(name, known);
  }
  return labels;
}

function selectors(expr: string): { readonly name: string; readonly labels: readonly string[] }[] {
  return Array.from(expr.matchAll(/\b((?:tailrace|process)_\w+)(?:\{([^}]*)\})?/g), ([, name, inside = ""]) => ({
    name,
    labels: Array.from(inside.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g), ([, label]) => label),
  }));
}

Deno.test("Grafana's dashboard asks only for series and labels that /metrics gives", async () => {
  const dashboard: Dashboard = JSON.parse(await Deno.readTextFile(FILE));
  const labels = await given();
  const asked = [
    ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: title, expr }))),
    ...dashboard.templating.list.flatMap(({ name, definition }) =>
      definition ? [{ where: `variable ${name}`, expr: definition }] : []
    ),
  ];
  assert.ok(asked.length > 30, `${asked.length} expressions`);
  for (const { where, expr } of asked) {
    const found = selectors(expr);
    assert.ok(found.length > 0, `${where} asks for nothing of ours: ${expr}`);
    for (const { name, labels: used } of found) {
      const known = labels.get(name);
      assert.ok(known, `${where} asks for ${name}, which /metrics does not give`);
      for (const label of used) assert.ok(known.has(label), `${where}: ${name} has no label ${label}`);
    }
    for (const [, group] of expr.matchAll(/\b(?:by|on|ignoring) \(([^)]*)\)/g)) {
      const all = new Set(found.flatMap(({ name }) => [...labels.get(name)!]));
      for (const label of group.split(/, */)) assert.ok(all.has(label), `${where}: nothing has the label ${label}`);
    }
    assert.equal(expr.split("(").length, expr.split(")").length, `${where}: ${expr}`);
  }
});

Deno.test("the alarms of docs/monitoring.md ask only for what /metrics gives", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/monitoring.md", import.meta.url));
  const labels = await given();
  const expressions = Array.from(page.matchAll(/^ +expr: (.*)$/gm), ([, expr]) => expr);
  const asked = expressions.flatMap(selectors);
  assert.ok(asked.length > 5, `${asked.length} series`);
  for (const { name, labels: used } of asked) {
    const known = labels.get(name);
    assert.ok(known, `${name} is no series of /metrics`);
    for (const label of used) assert.ok(known.has(label), `${name} has no label ${label}`);
  }
});

Deno.test("counters are asked for as rates and gauges as they are", async () => {
  const dashboard: Dashboard = JSON.parse(await Deno.readTextFile(FILE));
  const isCounter = (name: string) => name.endsWith("_total");
  for (const { title, targets = [] } of dashboard.panels) {
    for (const { expr } of targets) {
      for (const [, before, name] of expr.matchAll(/(\w*)\(?((?:tailrace|process)_\w+)/g)) {
        const isRate = before === "rate" || before === "increase";
        assert.equal(isRate, isCounter(name), `${title}: ${expr}`);
      }
    }
  }
});

Deno.test("its panels have numbers of their own, and none lies on another", async () => {
  const { panels }: Dashboard = JSON.parse(await Deno.readTextFile(FILE));
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const [i, { title, gridPos: a }] of panels.entries()) {
    assert.ok(a.x + a.w <= 24, `${title} is wider than the page`);
    for (const { title: other, gridPos: b } of panels.slice(i + 1)) {
      const isApart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert.ok(isApart, `${title} lies on ${other}`);
    }
  }
});
