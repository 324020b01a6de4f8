// Elements are made here, from text and attributes only: data never becomes markup.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) element.append(child);
  }
  return element;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

// Colours of arms: the control is grey, treatments go round four.
const colour = (index) => (index === 0 ? 0 : ((index - 1) % 4) + 1);
const swatch = (index) => h("span", { class: `key c${colour(index)}`, "aria-hidden": "true" });

// A table that folds into blocks on a phone. Cells: text, element, or {wide, n, value}.
function table(caption, heads, rows) {
  const cell = (value, index) => {
    const { n, wide, value: inner } = value && value.constructor === Object ? value : { value };
    if (index === 0) return h("th", { scope: "row" }, inner);
    return h("td", { class: [n && "n", wide && "wide"].filter(Boolean).join(" ") || null, "data-label": wide ? null : heads[index].text }, inner);
  };
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", { class: "fold" },
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: head.n ? "n" : null }, head.text)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

const n = (value) => ({ n: true, value });
const wide = (value) => ({ wide: true, value });

const FOCUSABLE = "a[href], button, select, input, summary, [tabindex]";

// Puts fresh elements in place of the old ones; what was open stays open and the focus where it was.
function renew(part, ...children) {
  const open = [...part.querySelectorAll("details")].map((details) => details.open);
  const focused = [...part.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  part.replaceChildren(...children);
  part.querySelectorAll("details").forEach((details, i) => { if (i < open.length) details.open = open[i]; });
  if (focused >= 0) part.querySelectorAll(FOCUSABLE)[focused]?.focus({ preventScroll: true });
}
