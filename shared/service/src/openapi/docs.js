"use strict";
// Shows the document beside it. Text only: nothing of it becomes markup.
const h = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};
const last = (reference) => reference.split("/").pop();

// A schema in a few words, with a link to what it names.
function words(schema) {
  if (schema.$ref) return [h("a", { href: `#schema-${last(schema.$ref)}` }, last(schema.$ref))];
  for (const [join, name] of [[" or ", "anyOf"], [" or ", "oneOf"], [" and ", "allOf"]]) {
    if (schema[name]) return schema[name].flatMap((one, i) => (i ? [join, ...words(one)] : words(one)));
  }
  if (schema.items) return ["list of ", ...words(schema.items)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  return [[schema.type || "anything"].flat().join(" or ")];
}

function fields(schema) {
  const rows = Object.entries(schema.properties || {}).map(([name, of]) => h("tr", {},
    h("th", { scope: "row" }, h("code", {}, name), (schema.required || []).includes(name) ? "" : h("span", { class: "soft" }, " ?")),
    h("td", {}, words(of), of.description ? h("div", { class: "soft" }, of.description) : null)));
  return rows.length ? h("table", {}, h("tbody", {}, rows)) : h("p", {}, words(schema));
}

function operation(api, path, method, of) {
  const parameters = of.parameters.map((one) => api.components.parameters[last(one.$ref)]);
  const content = (response) => Object.entries(response.content || {}).flatMap(([type, { schema }]) => [h("span", { class: "soft" }, `${type} `), ...words(schema)]);
  return h("details", { class: "op", id: of.operationId },
    h("summary", {}, h("span", { class: `method ${method}` }, method.toUpperCase()), h("code", {}, path), h("span", { class: "soft" }, of.summary)),
    h("p", {}, of.description),
    parameters.length ? h("h3", {}, "Parameters") : null,
    parameters.length ? h("table", {}, h("tbody", {}, parameters.map((one) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, one.name), h("span", { class: "soft" }, ` ${one.in}`)), h("td", {}, words(one.schema), h("div", { class: "soft" }, one.description || "")))))) : null,
    of.requestBody ? h("h3", {}, "Body") : null,
    of.requestBody ? h("p", {}, content(of.requestBody)) : null,
    h("h3", {}, "Answers"),
    h("table", {}, h("tbody", {}, Object.entries(of.responses).map(([status, response]) => h("tr", {}, h("th", { scope: "row" }, status), h("td", {}, response.description, " ", content(response)))))),
    h("h3", {}, "Example"),
    h("pre", {}, `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${location.origin}${path}${of.security.length ? " -H \"Authorization: Bearer $KEY\"" : ""}${of.requestBody ? " -H 'Content-Type: application/json' -d @body.json" : ""}`));
}

function shown(api) {
  const tags = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, of] of Object.entries(methods)) {
      if (!tags.has(of.tags[0])) tags.set(of.tags[0], []);
      tags.get(of.tags[0]).push(operation(api, path, method, of));
    }
  }
  const sections = [...tags].map(([tag, operations]) => h("section", { "aria-label": tag }, h("h2", {}, tag), operations));
  const errors = h("section", { "aria-label": "Error codes" }, h("h2", { id: "errors" }, "Error codes"), h("table", {}, h("tbody", {}, Object.entries(api["x-error-codes"]).map(([code, { status, meaning }]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, code)), h("td", {}, String(status)), h("td", {}, meaning))))));
  const schemas = h("section", { "aria-label": "Schemas" }, h("h2", {}, "Schemas"), Object.entries(api.components.schemas).map(([name, schema]) => h("details", { class: "op", id: `schema-${name}` }, h("summary", {}, h("code", {}, name)), schema.description ? h("p", {}, schema.description) : null, fields(schema))));
  document.getElementById("main").replaceChildren(...api.info.description.split("\n\n").map((text) => h("p", {}, text)), ...sections, errors, schemas);
  document.getElementById("contents").replaceChildren(...[...tags].map(([tag, operations]) => h("div", {}, h("h2", {}, tag), h("ul", {}, operations.map((one) => h("li", {}, h("a", { href: `#${one.id}` }, one.querySelector("summary").lastChild.textContent)))))));
  reveal();
}

// What the address names is opened.
function reveal() {
  const named = location.hash && document.getElementById(location.hash.slice(1));
  if (!named) return;
  named.open = true;
  named.scrollIntoView();
}

document.getElementById("search").addEventListener("input", ({ target }) => {
  const wanted = target.value.toLowerCase();
  for (const one of document.querySelectorAll("details.op")) one.hidden = !one.querySelector("summary").textContent.toLowerCase().includes(wanted);
});
window.addEventListener("hashchange", reveal);
fetch("./openapi.json").then((answer) => answer.json()).then(shown, () => { document.getElementById("main").textContent = "The document could not be read: try again."; });
