// Intervals and time series, drawn as SVG. Every drawing has its numbers beside it or in a table below.

// A scale that holds all intervals and zero, with round ends.
function scaleOf(intervals, extra = []) {
  const all = intervals.flat().concat(extra, [0]).filter(Number.isFinite).map((value) => Math.max(-3, Math.min(3, value)));
  const low = Math.min(...all), high = Math.max(...all);
  const step = niceStep((high - low || 0.02) / 4);
  return { low: Math.floor(low / step - 0.001) * step, high: Math.ceil(high / step + 0.001) * step, step };
}

function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw);
}

const ticksOf = ({ low, high, step }) => Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => low + i * step);
const label = (value, { step }) => `${value < -1e-9 ? "−" : value > 1e-9 ? "+" : ""}${Math.abs(value * 100).toFixed(step < 0.01 ? 1 : 0)}%`;

const WIDTH = 300;
const across = (scale) => (value) => 8 + ((Math.max(scale.low, Math.min(scale.high, value)) - scale.low) / (scale.high - scale.low)) * (WIDTH - 16);

// One effect with its interval; `mark` is the effect worth shipping or the margin tolerated.
function intervalDrawing(effect, ci, scale, tone, mark, title) {
  const x = across(scale);
  return s("svg", { class: "interval", viewBox: `0 0 ${WIDTH} 34`, role: "img", "aria-label": title },
    s("line", { class: "zero", x1: x(0), x2: x(0), y1: 2, y2: 32 }),
    Number.isFinite(mark) && s("line", { class: "tick", x1: x(mark), x2: x(mark), y1: 9, y2: 25 }),
    s("line", { class: `span s-${tone}`, x1: x(ci[0]), x2: x(ci[1]), y1: 17, y2: 17 }),
    s("line", { class: `s-${tone}`, x1: x(effect), x2: x(effect), y1: 9, y2: 25, "stroke-width": 4, "stroke-linecap": "round" }));
}

function axisDrawing(scale) {
  const x = across(scale), ends = [scale.low, 0, scale.high];
  const apart = ends.filter((value, i) => i === 1 || Math.abs(x(value) - x(0)) > 44);
  const anchor = (value) => (value === scale.low ? "start" : value === scale.high ? "end" : "middle");
  return s("svg", { class: "axis", viewBox: `0 0 ${WIDTH} 16`, "aria-hidden": "true" },
    apart.map((value) => s("text", { x: x(value), y: 12, "text-anchor": anchor(value) }, label(value, scale))));
}

// Lines over days with bands around them. `series`: [{index, name, points: [{day, value, band}]}].
function seriesDrawing(series, days, format, title, width) {
  const [W, H, left, right, top, bottom] = [Math.max(280, width), 280, 52, 14, 12, 28];
  // The first days know little: their intervals may leave the drawing, so that the later ones can be read.
  const late = days.slice(-Math.ceil(days.length * 0.7));
  const values = series.flatMap(({ points }) => points.flatMap(({ day, value, band }) => [value, ...((late.includes(day) && band) || [])]));
  const scale = format.relative ? scaleOf([values]) : positiveScale(values);
  const x = (day) => left + (days.length < 2 ? 0.5 : days.indexOf(day) / (days.length - 1)) * (W - left - right);
  const y = (value) => top + (1 - (Math.max(scale.low, Math.min(scale.high, value)) - scale.low) / (scale.high - scale.low)) * (H - top - bottom);
  // Lone points stand side by side.
  const alone = (index) => x(days[days.length - 1]) + (days.length < 2 ? 26 * (index - (series[0].index + series[series.length - 1].index) / 2) : 0);
  const path = (points) => points.map((point, i) => `${i ? "L" : "M"}${x(point.day).toFixed(1)},${y(point.value).toFixed(1)}`).join("");
  const band = (points) => {
    const edge = (side) => points.map((point) => `${x(point.day).toFixed(1)},${y(point.band[side]).toFixed(1)}`);
    return `M${edge(1).join("L")}L${edge(0).reverse().join("L")}Z`;
  };
  const every = Math.max(1, Math.ceil(days.length / Math.max(2, W / 90)));
  return s("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title },
    ticksOf(scale).map((value) => [
      s("line", { class: format.relative && Math.abs(value) < 1e-9 ? "zero" : "grid", x1: left, x2: W - right, y1: y(value), y2: y(value) }),
      s("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, format.relative ? label(value, scale) : format.text(value)),
    ]),
    days.map((day, i) => (days.length - 1 - i) % every === 0 && s("text", { x: x(day), y: H - 8, "text-anchor": i === days.length - 1 && days.length > 1 ? "end" : "middle" }, shortDate(day))),
    series.map(({ index, points }) => {
      const banded = points.filter((point) => point.band);
      return banded.length > 1 && s("path", { class: `band l${colour(index)}`, d: band(banded) });
    }),
    series.map(({ index, points }) => points.length === 1 && points[0].band && s("line", { class: `alone l${colour(index)}`, x1: alone(index), x2: alone(index), y1: y(points[0].band[0]), y2: y(points[0].band[1]) })),
    series.map(({ index, points, name }) => [
      s("path", { class: `line l${colour(index)}`, d: path(points) }),
      points.map((point) => s("circle", { class: `dot l${colour(index)}`, cx: points.length === 1 ? alone(index) : x(point.day), cy: y(point.value), r: points.length > 40 ? 2 : 3.6 },
        s("title", {}, `${name}, ${date(point.day)}: ${format.text(point.value)}${point.band ? ` (${format.text(point.band[0])} to ${format.text(point.band[1])})` : ""}`))),
    ]));
}

function positiveScale(values) {
  const finite = values.filter(Number.isFinite);
  const low = Math.min(...finite, Infinity), high = Math.max(...finite, -Infinity);
  const from = low >= 0 && low < (high - low) * 2 ? 0 : low;
  const step = niceStep((high - from || Math.abs(high) || 1) / 4);
  return { low: Math.floor(from / step) * step, high: Math.ceil(high / step + 0.001) * step, step };
}
