// Which view the address asks for, and the key that every view needs.
let leaving = new AbortController();

function failed(part, error) {
  if (error.status === 401) return signIn(error.code === "unknown_key" ? "That key is not known here." : error.message);
  const text = error.status === 403 ? "This key may not read answers: it lacks the scope `read`." : error.code === "unknown_experiment" ? "There is no such experiment." : `That did not work: ${error.message}.`;
  part.replaceChildren(h("div", { class: "note bad", role: "alert" }, h("strong", {}, text), h("button", { type: "button", class: "quiet", onclick: show }, "Try again")));
}

function signIn(problem) {
  leave();
  key.forget();
  byId("forget").hidden = true;
  const input = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "key-note" });
  const submit = (event) => {
    event.preventDefault();
    key.set(input.value.trim());
    show();
  };
  byId("main").replaceChildren(h("form", { class: "card sign-in", onsubmit: submit },
    h("h1", {}, "Results"),
    problem && h("div", { class: "note bad", role: "alert" }, problem),
    h("div", { class: "field" }, h("label", { for: "key" }, "API key with the scope read"), input),
    h("p", { id: "key-note", class: "small soft" }, "Kept for this tab only, and sent to nobody but this service."),
    h("button", { class: "main" }, "Show results")));
  input.focus();
}

// Everything that the last view still does ends with it.
function leave() {
  leaving.abort();
  leaving = new AbortController();
  byId("trail").replaceChildren();
  byId("live").textContent = "";
  byId("live").className = "live";
  document.title = "abstream";
}

function show() {
  leave();
  if (!key.get()) return signIn();
  byId("forget").hidden = false;
  const main = byId("main"), found = location.hash.match(/^#\/experiments\/([^/]+)$/);
  window.scrollTo(0, 0);
  return found ? answerView(main, decodeURIComponent(found[1]), leaving.signal) : listView(main, leaving.signal);
}

byId("forget").addEventListener("click", () => signIn());
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); byId("main").focus(); });
window.addEventListener("hashchange", (event) => { if (new URL(event.newURL).hash.startsWith("#/") || !new URL(event.newURL).hash) show(); });
show();
