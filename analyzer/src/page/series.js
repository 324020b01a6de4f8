// How an answer came to be, day by day.
function seriesCard(part, experiment, path, signal) {
  const metric = h("select", { id: "series-metric", onchange: draw }, experiment.metrics.map(({ key: name }) => h("option", { value: name }, name)));
  const what = h("select", { id: "series-what", onchange: draw }, h("option", { value: "effect" }, "Effect"), h("option", { value: "mean" }, "Each arm"), h("option", { value: "users" }, "Users"));
  const basis = h("select", { id: "series-basis", onchange: load }, h("option", { value: "received" }, "received"), h("option", { value: "occurred" }, "occurred"));
  const body = h("div", {});
  const choice = (id, text, select) => h("span", { class: "row" }, h("label", { for: id }, text), select);
  part.replaceChildren(h("section", { class: "card", "aria-label": "Over time" },
    h("header", {}, h("h2", {}, "Over time"), h("span", { class: "row end" }, choice("series-what", "Show", what), choice("series-metric", "of", metric), choice("series-basis", "by day", basis))), body));
  let answer = null, loaded = 0, waiting = false, width = 0;
  // A drawing is as wide as its place, so that its text is as large as any other.
  const observer = new ResizeObserver(() => { if (Math.abs(body.clientWidth - width) > 8) draw(); });
  observer.observe(part);
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });

  async function load() {
    loaded = Date.now();
    try {
      answer = await get(`${path}/timeseries?day_basis=${basis.value}`, signal);
      draw();
    } catch (error) {
      if (!signal.aborted) failed(body, error);
    }
  }

  function draw() {
    width = body.clientWidth;
    if (!answer) return;
    const series = answer.metrics.find((one) => one.key === metric.value) || answer.metrics[0];
    metric.disabled = what.value === "users";
    const lines = experiment.variations.map((variation, index) => ({ index, name: variation.name, points: points(series, index) })).filter(({ points: some }) => some.length > 0);
    if (lines.length === 0) return body.replaceChildren(h("p", { class: "empty" }, "Nothing to draw yet."));
    const proportion = experiment.metrics.find((one) => one.key === series.key)?.type === "proportion";
    const format = what.value === "effect" ? { relative: true, text: (value) => signed(value) } : { text: what.value === "users" ? count : proportion ? (value) => percent(value, 1) : plain };
    const subject = { effect: `Effect on ${series.key}, relative to ${experiment.variations[0].name}`, mean: `${series.key} per user of each arm`, users: "Users of each arm" }[what.value];
    renew(body,
      h("p", { class: "small soft" }, subject, what.value === "effect" && experiment.analysis.mode !== "fixed" && ", with the interval that holds at every look"),
      seriesDrawing(lines, answer.days, format, `${subject}, ${answer.days.length} days`, body.clientWidth),
      h("div", { class: "legend" }, lines.map(({ index, name }) => h("span", {}, swatch(index), name))),
      h("details", {}, h("summary", {}, "The same as a table"), table(subject, [{ text: "Day" }, ...lines.map(({ name }) => ({ text: name, n: true }))], answer.days.map((day) => [date(day), ...lines.map(({ points: some }) => { const point = some.find((one) => one.day === day); return n(point ? format.text(point.value) + (point.band ? ` (${format.text(point.band[0])} to ${format.text(point.band[1])})` : "") : "–"); })]))));
  }

  function points(series, index) {
    return series.points.flatMap((point) => {
      if (what.value === "effect") {
        const effect = point.comparisons.find((one) => one.variation_index === index);
        if (!effect || effect.status !== "ok") return [];
        const held = experiment.analysis.mode === "fixed" ? effect.ci : effect.sequential_ci || effect.ci;
        return [{ day: point.day, value: effect.effect, band: held }];
      }
      const arm = point.arms[index], value = what.value === "users" ? arm.users : arm.mean;
      return value === null ? [] : [{ day: point.day, value }];
    });
  }

  // Not at every change: a series is the larger answer.
  async function changed() {
    if (waiting) return;
    waiting = true;
    await pause(Math.max(0, loaded + (basis.value === "occurred" ? 60000 : 10000) - Date.now()), signal);
    waiting = false;
    if (!signal.aborted) await load();
  }

  return { changed };
}
