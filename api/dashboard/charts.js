// uPlot in this page's colours: lines over the last minutes, bars for windows.
import { clock, number, short, timeTicks } from "./format.js";

// Served from its package beside these files; there is nothing at this path in the source tree, so it is named at run time.
const { default: uPlot } = await import(new URL("./uplot/uPlot.js", import.meta.url).href);

/** A line chart shows at least this much time, so that the first samples do not fill it. */
const SPAN_MIN_SECONDS = 60;
/** Half of the widest label of the time axis, pixels: room for the last one, which stands below its tick's middle. */
const LABEL_HALF = 38;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(options) {
  return {
    stroke: colour("--quiet"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
    ...options,
  };
}

const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");

/** Pixels below the chart: more when a day stands below a label. */
function timeAxisSize(_, labels) {
  return labels?.some((label) => label?.includes("\n")) ? 46 : 32;
}

/** From zero, with room above; one unit high when there is nothing to see. */
function fromZero(_, min, max) {
  if (min === null || max === null) return [0, 1];
  return [Math.min(0, min * 1.08), max > 0 ? max * 1.08 : min < 0 ? 0 : 1];
}

/**
 * A chart in `element` that follows its width and the colour scheme.
 * `time`: an instant in ISO 8601 as the legend shows it. `series`: {label, colour: CSS variable, unit?, scale?, fill?, bars?}. `set(data)` replaces the data: [x, ...ys].
 */
export function createChart(element, { series, barSeconds = () => 0, rightUnit = null, height = 190, time = clock }) {
  let plot = null;
  let data = [[], ...series.map(() => [])];

  function build() {
    plot?.destroy();
    const scales = {
      x: {
        time: true,
        range: (_, min, max) => {
          if (min === null) return [Date.now() / 1000 - 300, Date.now() / 1000];
          return barSeconds() > 0 ? [min, max + barSeconds()] : [Math.min(min, max - SPAN_MIN_SECONDS), max];
        },
      },
      y: { range: fromZero },
    };
    const axes = [
      axis({ space: 80, size: timeAxisSize, values: (_, splits, __, ___, step) => timeTicks(splits, step) }),
      axis({ size: 56, values: (_, splits) => splits.map(short) }),
    ];
    if (rightUnit) {
      scales.right = { range: fromZero };
      axes.push(axis({
        scale: "right",
        side: 1,
        size: 60,
        grid: { show: false },
        stroke: colour("--second"),
        values: (_, splits) => splits.map((value) => `${short(value)}${rightUnit}`),
      }));
    }
    plot = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height,
        tzDate: utc,
        padding: [null, rightUnit ? null : LABEL_HALF, null, null],
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        legend: { live: true },
        scales,
        axes,
        series: [
          {
            label: "time",
            value: (_, seconds) => seconds === null ? "–" : time(new Date(seconds * 1000).toISOString()),
          },
          ...series.map((one) => ({
            label: one.label,
            scale: one.scale ?? "y",
            stroke: colour(one.colour),
            width: one.bars ? 0 : 2,
            fill: one.bars ? colour(one.colour) : one.fill ? colour(one.fill) : undefined,
            paths: one.bars ? uPlot.paths.bars({ size: [0.8, 120], align: 1, gap: 1 }) : undefined,
            points: { show: false },
            value: (_, value) => value === null ? "–" : `${number(value)}${one.unit ?? ""}`,
          })),
        ],
      },
      data,
      element,
    );
  }

  build();
  new ResizeObserver(() => {
    plot.setSize({ width: Math.max(200, element.clientWidth), height });
  }).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);

  return {
    set(next) {
      data = next;
      plot.setData(data);
    },
  };
}
