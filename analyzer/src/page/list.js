// The list of experiments, each with its decision as it comes in.
function listView(main, signal) {
  const status = h("select", { id: "status", onchange: () => load(true) },
    h("option", { value: "" }, "All"), ["running", "draft", "stopped", "archived"].map((value) => h("option", { value }, sentence(value))));
  const body = h("div", { "aria-live": "polite" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load(false) }, "Show more");
  main.replaceChildren(
    h("div", { class: "row" }, h("h1", {}, "Experiments"), h("span", { class: "row end-row" }, h("label", { for: "status" }, "Status"), status)),
    h("section", { class: "card", "aria-label": "Experiments" }, body, h("p", {}, more)));
  let items = [], cursor = null;

  async function load(afresh) {
    if (afresh) { items = []; cursor = null; }
    const query = new URLSearchParams({ limit: "50" });
    if (status.value) query.set("status", status.value);
    if (cursor) query.set("cursor", cursor);
    try {
      const page = await get(`/experiments?${query}`, signal);
      items = items.concat(page.items.map((experiment) => ({ experiment, decision: h("span", { class: "soft" }, "") })));
      cursor = page.next_cursor;
    } catch (error) {
      if (signal.aborted) return;
      return failed(body, error);
    }
    more.hidden = !cursor;
    body.replaceChildren(items.length ? shown() : h("p", { class: "empty" }, status.value ? `No experiment is ${status.value}.` : "There are no experiments yet. Create one with `abctl experiments create`, or POST /api/v1/experiments."));
    decide();
  }

  function shown() {
    const heads = [{ text: "Experiment" }, { text: "Status" }, { text: "Decision" }, { text: "Primary metric" }, { text: "Arms", n: true }, { text: "Started" }];
    return table("Experiments", heads, items.map(({ experiment, decision }) => {
      const primary = experiment.metrics.find((metric) => metric.role === "primary");
      return [
        h("div", {}, h("a", { href: `#/experiments/${encodeURIComponent(experiment.key)}` }, experiment.name), h("div", { class: "small soft" }, h("span", { class: "mono" }, experiment.key), (experiment.labels || []).map((text) => [" ", h("span", { class: "pill" }, text)]))),
        h("span", { class: `pill ${experiment.status}` }, sentence(experiment.status)),
        decision,
        primary ? primary.key : "–",
        n(String(experiment.variations.length)),
        date(experiment.started_at),
      ];
    }));
  }

  // A few at a time, so that a long list does not ask for everything at once.
  async function decide() {
    const waiting = items.filter(({ experiment, decision }) => experiment.started_at && !decision.textContent);
    const worker = async () => {
      for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) {
        const { experiment, decision } = next;
        const answer = await get(`/experiments/${experiment.id}/decision`, signal).catch(() => null);
        if (!answer) { decision.textContent = "–"; continue; }
        const winner = experiment.variations.find((variation) => variation.key === answer.variation);
        decision.className = `mark ${answer.decision}`;
        decision.replaceChildren(`${DECISIONS[answer.decision].sign} ${DECISIONS[answer.decision].short}${winner ? ` ${winner.name}` : ""}`);
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
  }

  return load(true);
}
