// One experiment: the decision, what stands in its way, each metric, and the quality of the data.
function answerView(main, reference, signal) {
  const path = `/experiments/${encodeURIComponent(reference)}`;
  const parts = Object.fromEntries(["head", "alerts", "decision", "metrics", "series", "quality"].map((name) => [name, h("div", { class: `part ${name}` })]));
  main.replaceChildren(h("p", { class: "empty" }, "Loading…"));
  let experiment, series;

  async function begin() {
    try {
      experiment = await get(path, signal);
    } catch (error) {
      if (!signal.aborted) failed(main, error);
      return;
    }
    document.title = `${experiment.name} · abstream`;
    byId("trail").replaceChildren(h("a", { href: "#/" }, "Experiments"), " / ", h("span", { "aria-current": "page" }, experiment.name));
    parts.head.replaceChildren(head());
    series = seriesCard(parts.series, experiment, path, signal);
    main.replaceChildren(...Object.values(parts));
    main.focus({ preventScroll: true });
    follow(`${path}/live-stats/stream`, signal, { event: changed, state: said });
  }

  function said(state, error) {
    const live = byId("live");
    live.className = `live ${state}`;
    live.textContent = { on: "Live", off: "Reconnecting…", gone: "" }[state];
    if (state === "gone") failed(parts.alerts, error);
  }

  async function changed(live) {
    if (live.experiment.status !== experiment.status) {
      experiment = await get(path, signal).catch(() => experiment);
      parts.head.replaceChildren(head());
    }
    const decision = await get(`${path}/decision`, signal).catch(() => null);
    if (signal.aborted) return;
    renew(parts.metrics, ...metricCards(live, experiment));
    renew(parts.quality, qualityCard(live));
    renew(parts.alerts, ...alerts(live));
    if (decision) renew(parts.decision, decisionCard(decision, live));
    series.changed();
  }

  function head() {
    return h("div", {},
      h("div", { class: "row" }, h("h1", {}, experiment.name), h("span", { class: `pill ${experiment.status}` }, sentence(experiment.status)), (experiment.labels || []).map((text) => h("span", { class: "pill" }, text))),
      h("p", { class: "small soft" }, h("span", { class: "mono" }, experiment.key), experiment.started_at && ` · started ${date(experiment.started_at)}`, experiment.stopped_at && ` · stopped ${date(experiment.stopped_at)}`, ` · ${MODES[experiment.analysis.mode]}, error level ${experiment.analysis.alpha}`),
      experiment.description && h("p", {}, experiment.description));
  }

  return begin();
}

function alerts(live) {
  const found = [];
  if (live.srm.mismatch) {
    found.push(h("div", { class: "note bad", role: "alert" }, h("strong", {}, "Sample ratio mismatch"), `${shares(live)}${live.srm.p_value === undefined ? "" : `; p = ${live.srm.p_value.toExponential(1)}`}. Look for what sends users to one arm, or loses them in another, before reading any effect.`));
  }
  if (live.filter_imbalance.mismatch) {
    found.push(h("div", { class: "note bad", role: "alert" }, h("strong", {}, "Users are kept out unevenly"), told("filter_imbalance")));
  }
  const crossed = live.arms.reduce((sum, arm) => sum + arm.data_quality.crossovers, 0);
  if (crossed >= 10 && crossed >= live.users / 100) {
    found.push(h("div", { class: "note wait" }, h("strong", {}, `${count(crossed)} users saw more than one variation`), `That is ${percent(crossed / live.users)} of all; effects are diluted by it.`));
  }
  const { unused_metrics: unused, ...counts } = live.data_quality;
  const lines = [
    [counts.never_exposed, "conversions name this experiment and come from users who were never exposed: they count in no arm"],
    [counts.after_stop, "exposures occurred after the stop: they enrolled nobody"],
    [counts.conflicts, "events came again under the same key and said something else: the first one counts"],
  ].filter(([n]) => n > 0).map(([n, text]) => h("li", {}, `${count(n)} ${text}.`));
  if (unused.length > 0) {
    lines.push(h("li", {}, `No metric counts ${unused.slice(0, 5).map(({ metric, conversions }) => `${metric} (${count(conversions)})`).join(", ")}${unused.length > 5 ? ` and ${unused.length - 5} more` : ""}: is one misspelt?`));
  }
  if (lines.length > 0) {
    found.push(h("div", { class: "note wait" }, h("strong", {}, "Data quality"), h("ul", { class: "plain" }, lines)));
  }
  return found;
}

// "A has 46.0% of the users where 50.0% were expected, B ..."
function shares(live) {
  const total = live.arms.reduce((sum, arm) => sum + arm.weight, 0);
  return live.arms.map((arm, i) => `${arm.name} has ${percent(arm.users / live.users)}${i ? "" : " of the users"} where ${percent(arm.weight / total)} ${i ? "" : "were expected"}`.trim()).join(", ");
}

function decisionCard(decision, live) {
  const { sign, short } = DECISIONS[decision.decision];
  const name = (key) => (live.arms.find((arm) => arm.key === key) || { name: key }).name;
  const missing = decision.treatments.map((treatment) => treatment.missing).filter(Boolean);
  const users = Math.max(0, ...missing.map((one) => one.users || 0)), atRate = Math.max(0, ...missing.map((one) => one.days_at_this_rate || 0));
  const fresh = decision.reasons.includes("not_started");
  const reasons = fresh ? ["not_started"] : decision.reasons;
  const others = fresh ? [] : decision.blockers.filter((code) => !reasons.includes(code));
  // Which treatments a code is about, unless all.
  const of = (code) => {
    const meant = decision.treatments.filter((treatment) => treatment.reasons.concat(treatment.blockers).includes(code));
    return meant.length > 0 && meant.length < decision.treatments.length && h("span", { class: "soft" }, ` (${meant.map((treatment) => name(treatment.key)).join(", ")})`);
  };
  const headline = fresh ? "Not started" : decision.variation ? `${short} ${name(decision.variation)}` : short;
  return h("section", { class: `card verdict ${decision.decision}`, "aria-label": "Decision" },
    h("span", { class: "sign", "aria-hidden": "true" }, sign),
    h("h2", {}, headline),
    h("div", { class: "body" },
      !fresh && decision.treatments.map((treatment) => treatmentLine(treatment, decision, name(treatment.key))),
      h("ul", { class: "plain" }, reasons.map((code) => h("li", {}, told(code), of(code)))),
      others.length > 0 && h("details", { open: decision.decision !== "ship" }, h("summary", {}, "What stands in the way of shipping"), h("ul", { class: "plain" }, others.map((code) => h("li", {}, told(code), of(code))))),
      h("dl", { class: "facts" },
        fact("Users", count(live.users)),
        fact("Full days", `${decision.full_days}`, `of at least ${decision.min_days}`),
        fact("Worth shipping from", decision.mde === null ? "not set" : percent(decision.mde), decision.primary ? `relative change of ${decision.primary}` : ""),
        users > 0 && fact("Users still needed", count(users), atRate > 0 ? `about ${count(atRate)} ${atRate === 1 ? "day" : "days"} at this rate` : "in the pair that lacks most"))));
}

// What the primary metric says of one treatment.
function treatmentLine(treatment, decision, name) {
  const { verdict } = treatment;
  const effect = verdict && verdict.status === "ok" ? [h("strong", { class: "number" }, signed(verdict.effect)), ` (${interval(verdict.ci)}) on ${decision.primary}`] : [h("span", { class: "soft" }, verdict ? why(verdict.reason) : "no primary metric")];
  const differs = decision.treatments.some((other) => other.decision !== treatment.decision);
  // What the reasons of the whole do not say.
  const own = treatment.reasons.filter((code) => differs && !decision.reasons.includes(code)).map((code) => ` ${told(code)}`);
  return h("p", { class: "number" }, swatch(treatment.variation_index), `${name}: `, effect, differs && [" · ", h("span", { class: `mark ${treatment.decision}` }, DECISIONS[treatment.decision].short), h("span", { class: "soft" }, own)]);
}

const fact = (name, value, note) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value, note && h("small", {}, note)));

// What each comparison is read by: the verdict of the mode, or the check of a guardrail.
function readingOf(comparison) {
  const { verdict, guardrail } = comparison;
  if (verdict) return verdict.status === "ok" ? { ...verdict, band: verdict.ci } : { reason: verdict.reason };
  if (guardrail) return guardrail.status === "ok" ? { ...guardrail, band: [guardrail.lower_bound, guardrail.upper_bound] } : { reason: guardrail.reason };
  return { reason: "undefined" };
}

function metricCards(live, experiment) {
  const rank = { primary: 0, guardrail: 2 };
  const order = [...live.metrics].sort((a, b) => (rank[a.role] ?? 1) - (rank[b.role] ?? 1));
  return order.map((metric) => metricCard(metric, live, experiment));
}

function metricCard(metric, live, experiment) {
  const readings = metric.comparisons.map(readingOf);
  const defined = metric.comparisons.filter((_, i) => readings[i].band);
  const definition = experiment.metrics.find((one) => one.key === metric.key) || {};
  const better = metric.direction === "down" ? -1 : 1;
  const mark = metric.role === "primary" && experiment.analysis.mde ? better * experiment.analysis.mde : metric.role === "guardrail" && definition.margin ? -better * definition.margin : NaN;
  const scale = scaleOf(readings.filter((one) => one.band).map((one) => one.band), Number.isFinite(mark) ? [mark] : []);
  const proportion = metric.type === "proportion";
  const heads = [{ text: "Variation" }, { text: "Users", n: true }, { text: proportion ? "Converted" : metric.type === "count" ? "Events" : "Sum", n: true }, { text: proportion ? "Rate" : metric.type === "ratio" ? "Ratio" : "Per user", n: true }, { text: "Effect" }, { text: metric.role === "guardrail" ? "Interval (each side)" : "Interval" }, { text: metric.role === "guardrail" ? "Check" : "p, adjusted", n: true }, { text: "Chance best", n: true }];
  const rows = metric.arms.map((arm, index) => {
    const name = h("span", {}, swatch(index), live.arms[index].name, index === 0 && live.arms[0].name.toLowerCase() !== "control" && h("span", { class: "small soft" }, " (control)"));
    const best = metric.best.status === "ok" ? metric.best.arms.find((one) => one.variation_index === index) : null;
    const common = [name, n(count(arm.users)), n(proportion ? count(arm.converters) : metric.type === "count" ? count(arm.conversions) : plain(Number(arm.sum))), n(arm.mean === null ? "–" : proportion ? percent(arm.mean, 2) : plain(arm.mean))];
    const chance = n(best ? percent(best.best, best.best > 0.0005 && best.best < 0.9995 ? 1 : 0) : "");
    if (index === 0) return [...common, "", wide(defined.length ? axisDrawing(scale) : ""), n(""), chance];
    const reading = readings[index - 1];
    if (!reading.band) return [...common, h("span", { class: "soft" }, why(reading.reason)), wide(""), n(""), chance];
    const tone = reading.band[0] > 0 || reading.band[1] < 0 ? (reading.effect * better > 0 ? "up" : "down") : "flat";
    const title = `${live.arms[index].name}: ${signed(reading.effect)}, ${interval(reading.band)}`;
    const drawing = h("div", {}, intervalDrawing(reading.effect, reading.band, scale, tone, mark, title), h("div", { class: "small soft number" }, interval(reading.band)));
    const judged = reading.outcome ? h("span", { class: { pass: "up", harm: "down" }[reading.outcome] || "soft" }, sentence(reading.outcome)) : probability(reading.adjusted_p_value);
    return [...common, h("span", { class: `lift ${tone}` }, signed(reading.effect)), wide(drawing), n(judged), chance];
  });
  return h("section", { class: "card", "aria-label": `Metric ${metric.key}` },
    h("header", {}, h("h2", {}, metric.key), h("span", { class: `pill ${metric.role}` }, sentence(metric.role || "secondary")), h("span", { class: "small soft" }, `${metric.type}, ${metric.direction === "down" ? "lower" : "higher"} is better`)),
    table(`Metric ${metric.key}`, heads, rows),
    Number.isFinite(mark) && defined.length > 0 && h("p", { class: "small soft" }, h("span", { class: "mark-key", "aria-hidden": "true" }), metric.role === "primary" ? `worth shipping from ${signed(mark, 1)}` : `tolerated up to ${signed(mark, 1)}`));
}

function qualityCard(live) {
  const names = { crossovers: "Crossovers", filtered: "Filtered", excluded: "Excluded", earlier_exposure_seen: "Earlier exposure", before_exposure: "Too early", after_window: "Too late", late: "Late", after_stop: "After stop", conflicts: "Conflicts", keyless: "Without key" };
  const total = live.arms.reduce((sum, arm) => sum + arm.weight, 0);
  const heads = [{ text: "Variation" }, { text: "Users", n: true }, { text: "Share", n: true }, { text: "Expected", n: true }, ...Object.values(names).map((text) => ({ text, n: true }))];
  const rows = live.arms.map((arm, index) => [
    h("span", {}, swatch(index), arm.name), n(count(arm.users)), n(live.users ? percent(arm.users / live.users, 2) : "–"), n(percent(arm.weight / total, 2)),
    ...Object.keys(names).map((name) => n(count(arm.data_quality[name]))),
  ]);
  const srm = live.srm.status === "ok" ? `Sample ratio: ${live.srm.mismatch ? "mismatch" : "as expected"} (p ${equals(live.srm.p_value)}; over all looks ${equals(live.srm.always_valid.p_value)})` : `Sample ratio: ${why(live.srm.reason || live.srm.status)}`;
  const whole = live.data_quality;
  const all = [[whole.late, "late"], [whole.clock_corrected, "with a clock put right"], [whole.keyless, "without a key"], [whole.conflicts, "in conflict with what came before"], [whole.after_stop, "after the stop"], [whole.never_exposed, "of users never exposed"]].filter(([n]) => n > 0).map(([n, text]) => `${count(n)} ${text}`);
  return h("section", { class: "card", "aria-label": "Data quality" }, h("header", {}, h("h2", {}, "Data quality"), h("span", { class: "small soft end" }, srm)), table("Data quality by variation", heads, rows),
    h("p", { class: "small soft" }, "Crossovers saw several variations and count in their first. Filtered and excluded users count in no metric. Earlier exposure: an exposure came later than one it precedes. Too early, too late: conversions before the exposure or after the attribution window. Late: recorded on a later day than it occurred. Events count in the arm their user was in when they were recorded."),
    all.length > 0 && h("p", { class: "small soft" }, `Of all events, also of users in no arm: ${all.join(", ")}.`));
}
