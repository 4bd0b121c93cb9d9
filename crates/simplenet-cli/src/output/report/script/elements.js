// What moves on the report, in seven files that stand one after another in one script: elements, theme, layers, category,
// gallery, viewer, start. This one: elements and numbers as text.
//
// In: the JSON of #data, and for each photograph an element p<category>-<line> with three lines of text: JPEG, heat map,
// outline of the ground truth. Out: changes to this page only. Nothing is loaded and nothing leaves the page.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (functions become listeners) and children (strings become text). */
function h(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** A score as the rest of the page writes it. */
function short(value) {
  const size = Math.abs(value);
  if (value !== 0 && !(size >= 1e-2 && size < 1e5)) {
    return value.toExponential(2).replace("e+", "e");
  }
  return value.toFixed(3);
}

function percent(part, of) {
  return of === 0 ? "n/a" : (100 * part / of).toFixed(1) + " %";
}
