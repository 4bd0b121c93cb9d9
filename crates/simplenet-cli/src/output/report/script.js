// What moves on the report: the threshold with all that follows from it, the gallery, the viewer, the theme.
//
// In: the JSON of #data, and for each photograph an element p<category>-<line> with three lines of text: JPEG, heat map,
// outline of the ground truth. Out: changes to this page only. Nothing is loaded and nothing leaves the page.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const PAGE = 48;
const THEMES = ["auto", "light", "dark"];

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

// Theme: set before the page is drawn. A browser may keep no settings for a file; the button works all the same.
let theme = "auto";
try {
  const kept = localStorage.getItem("simplenet-theme");
  if (THEMES.includes(kept)) theme = kept;
} catch { /* not kept */ }

function showTheme() {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
}
showTheme();

function themeButton() {
  const text = () => "theme: " + theme;
  const button = h("button", {
    type: "button", class: "theme", title: "Follow the system, light, or dark",
    click() {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      try { localStorage.setItem("simplenet-theme", theme); } catch { /* not kept */ }
      showTheme();
      button.textContent = text();
    },
  }, text());
  document.querySelector("header").append(button);
}

/** What is laid over all photographs: opacity in percent, and three switches. */
const shown = { opacity: 70, heat: true, truth: true, regions: true };

function showLayers() {
  document.documentElement.style.setProperty("--heat", shown.opacity / 100);
  for (const layer of ["heat", "truth", "regions"]) {
    document.body.classList.toggle("no-" + layer, !shown[layer]);
    for (const input of document.querySelectorAll(`[data-layer="${layer}"]`)) input.checked = shown[layer];
  }
  for (const input of document.querySelectorAll("[data-layer=opacity]")) input.value = shown.opacity;
}

function layerInput(layer) {
  if (layer === "opacity") {
    return h("input", {
      type: "range", min: 0, max: 100, step: 5, "data-layer": layer, "aria-label": "Opacity of the heat map",
      input(event) { shown.opacity = Number(event.target.value); shown.heat = true; showLayers(); },
    });
  }
  return h("input", {
    type: "checkbox", "data-layer": layer,
    change(event) { shown[layer] = event.target.checked; showLayers(); },
  });
}

/** Photograph, heat map and outlines of an image, laid over each other. */
function frame(category, image, named) {
  const box = h("span", { class: "frame" });
  const kept = document.getElementById(`p${category.number}-${image.i}`);
  const [photograph, heat, truth] = kept ? kept.textContent.split("\n") : [];
  if (!photograph) {
    box.append(h("span", { class: "absent" }, "picture not available"));
    return box;
  }
  box.append(h("img", { src: "data:image/jpeg;base64," + photograph, alt: "Photograph " + image.n, decoding: "async" }));
  if (heat) box.append(h("img", { class: "heat", src: "data:image/png;base64," + heat, alt: "", decoding: "async" }));
  const [width, height] = image.z;
  const view = { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" };
  if (truth) {
    box.append(svg("svg", { ...view, class: "truth" },
      svg("path", { class: "halo", d: truth }), svg("path", { class: "edge", d: truth })));
  }
  if (image.r) {
    const regions = svg("svg", { ...view, class: "regions" });
    for (const [[x0, y0, x1, y1], , peak] of image.r) {
      const place = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
      regions.append(svg("rect", { ...place, class: "halo" }), svg("rect", { ...place, class: "edge" }));
      if (named) {
        const size = Math.max(width, height) / 45;
        const above = y0 > 1.5 * size;
        regions.append(svg("text", {
          x: Math.min(x0, width - 3.2 * size), y: above ? y0 - 0.4 * size : Math.min(y1 + 1.1 * size, height - 2),
          "font-size": size,
        }, short(peak)));
      }
    }
    box.append(regions);
  }
  return box;
}

/** A category with its panel, threshold and gallery. */
class Category {
  constructor(data, number, panel) {
    Object.assign(this, data);
    this.number = number;
    this.panel = panel;
    this.model = this.threshold;
    this.names = this.review == null ? ["normal", null, "anomalous"] : ["pass", "review", "reject"];
    const counted = (label) => this.images.filter((image) => image.l === label).length;
    this.totals = { good: counted(0), bad: counted(1), none: counted(undefined) };
    if (this.model == null || !this.range) return;
    this.chart();
  }

  /** 0 pass, 1 review, 2 reject; null without a threshold. */
  verdict(image) {
    if (this.threshold == null) return null;
    if (image.s >= this.threshold) return 2;
    return this.review != null && image.s >= this.review ? 1 : 0;
  }

  /** "missed" or "false reject" of a wrong verdict. */
  mistake(image) {
    if (this.threshold == null || image.l === undefined) return null;
    const rejected = image.s >= this.threshold;
    if (rejected === (image.l === 1)) return null;
    return rejected ? "false reject" : "missed";
  }

  /** How far on the wrong side of the threshold the score is; below 0 on the right side. */
  wrongness(image) {
    return image.l === 1 ? this.threshold - image.s : image.s - this.threshold;
  }

  /** The threshold's controls, below the histogram and on it. */
  chart() {
    const [low, high] = this.range;
    this.plot = this.panel.querySelector(".histogram");
    const set = (value) => { if (Number.isFinite(value)) this.moveTo(value); };
    this.slider = h("input", {
      type: "range", min: low, max: high, step: (high - low) / 1000, "aria-label": "Threshold on the image score",
      input: (event) => set(event.target.valueAsNumber),
    });
    this.field = h("input", {
      type: "number", step: "any", "aria-label": "Threshold, exactly", change: (event) => set(event.target.valueAsNumber),
    });
    this.reset = h("button", { type: "button", click: () => set(this.model) }, "model's threshold");
    const remark = this.labelled
      ? "A threshold that is chosen here is chosen on test images. `simplenet calibrate` sets it from good parts alone."
      : "This changes the page only, not the model.";
    this.panel.querySelector(".chart").append(
      h("div", { class: "cut" }, h("span", {}, "threshold"), this.slider, this.field, this.reset, h("small", {}, remark)));
    const left = Number(this.plot.dataset.left), right = Number(this.plot.dataset.right);
    this.place = (value) => left + (Math.min(Math.max(value, low), high) - low) / (high - low) * (right - left);
    const drag = (event) => {
      const box = this.plot.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * this.plot.viewBox.baseVal.width;
      set(Math.min(Math.max(low + (x - left) / (right - left) * (high - low), low), high));
    };
    this.plot.classList.add("live");
    this.plot.addEventListener("pointerdown", (event) => { this.plot.setPointerCapture(event.pointerId); drag(event); });
    this.plot.addEventListener("pointermove", (event) => { if (event.buttons & 1) drag(event); });
    this.line = this.plot.querySelector("line.threshold");
    this.grip = svg("circle", { class: "grip", r: 6, cy: this.line.getAttribute("y1") });
    this.plot.append(this.grip);
    this.show();
  }

  moveTo(threshold) {
    this.threshold = threshold;
    this.show();
    this.gallery?.verdictsChanged();
    if (viewer.category === this) viewer.show();
  }

  /** Counts, rates, and marks on the curves at the present threshold. */
  show() {
    const counts = { good: [0, 0, 0], bad: [0, 0, 0], none: [0, 0, 0] };
    for (const image of this.images) {
      counts[image.l === undefined ? "none" : image.l === 1 ? "bad" : "good"][this.verdict(image)] += 1;
    }
    for (const cell of this.panel.querySelectorAll("[data-n]")) {
      const [row, column] = cell.dataset.n.split("-");
      const count = counts[row][column];
      cell.textContent = count;
      cell.classList.toggle("zero", count === 0);
    }
    const { good, bad, none } = this.totals;
    const found = counts.bad[2], rejected = counts.good[2], missed = bad - found;
    const rates = {
      recall: percent(found, bad), missed: percent(missed, bad),
      rejected: percent(rejected, good), precision: percent(found, found + rejected),
    };
    for (const cell of this.panel.querySelectorAll("[data-rate]")) cell.textContent = rates[cell.dataset.rate];
    const sentence = this.panel.querySelector("[data-role=sentence]");
    const b = (text, wrong) => h("b", wrong ? { class: "wrong" } : {}, String(text));
    if (good + bad === 0) {
      sentence.replaceChildren(b(counts.none[2]), ` of ${none} parts rejected.`);
    } else {
      sentence.replaceChildren(b(found), ` of ${bad} defective parts found`,
        ...(missed ? [", ", b(missed + " missed", true)] : []), "; ", b(rejected), ` of ${good} good parts rejected.`);
    }
    const x = this.place(this.threshold);
    for (const end of ["x1", "x2"]) this.line.setAttribute(end, x);
    this.grip.setAttribute("cx", x);
    const text = this.plot.querySelector("text.threshold");
    const width = this.plot.viewBox.baseVal.width;
    const late = x > 0.7 * width;
    text.setAttribute("x", late ? x - 10 : x + 10);
    text.setAttribute("text-anchor", late ? "end" : "start");
    text.textContent = "threshold " + short(this.threshold);
    const span = (rect, from, to) => {
      rect?.setAttribute("x", from);
      rect?.setAttribute("width", Math.max(to - from, 0));
    };
    span(this.plot.querySelector(".reject"), x, Number(this.plot.dataset.right));
    if (this.review != null) span(this.plot.querySelector("rect.review"), this.place(this.review), x);
    this.slider.value = this.threshold;
    this.slider.setAttribute("aria-valuetext", short(this.threshold));
    if (document.activeElement !== this.field) this.field.value = Number(this.threshold.toPrecision(7));
    this.reset.disabled = this.threshold === this.model;
    const roc = this.panel.querySelector("[data-role=roc] svg");
    const mark = roc?.querySelector(".mark");
    if (mark && good && bad) {
      const at = (side) => Number(roc.dataset[side]);
      mark.setAttribute("cx", at("left") + rejected / good * (at("right") - at("left")));
      mark.setAttribute("cy", at("bottom") - found / bad * (at("bottom") - at("top")));
      mark.querySelector("title").textContent =
        `threshold ${short(this.threshold)}: ${percent(rejected, good)} of good parts rejected, ${percent(found, bad)} of defective ones found`;
    }
  }

  chips(image) {
    const chips = h("span", { class: "tags" });
    const verdict = this.verdict(image), mistake = this.mistake(image);
    if (verdict !== null) chips.append(h("span", { class: "chip " + ["pass", "review", "reject"][verdict] }, this.names[verdict]));
    if (mistake) chips.append(h("span", { class: "chip wrong" }, mistake));
    const is = image.d ?? (image.l === undefined ? null : image.l ? "defective" : "good");
    if (is) chips.append(h("span", { class: "is" }, "is: " + is));
    return chips;
  }
}

/** The photographs of a category: sorted, filtered, a page at a time. */
class Gallery {
  constructor(category, element) {
    this.category = category;
    this.element = element;
    this.page = 0;
    this.filter = "all";
    this.defect = "";
    this.text = "";
    this.sort = "high";
    this.list = category.images;
    this.bars();
    this.update();
  }

  filters() {
    const category = this.category, mistake = (image) => category.mistake(image);
    const all = [["all", "all", () => true]];
    if (category.labelled) {
      if (category.threshold != null) {
        all.push(["wrong", "wrong", (image) => mistake(image) !== null],
          ["missed", "missed", (image) => mistake(image) === "missed"],
          ["rejected", "false rejects", (image) => mistake(image) === "false reject"]);
      }
      all.push(["good", "good", (image) => image.l === 0], ["bad", "defective", (image) => image.l === 1]);
    }
    if (category.threshold != null && (!category.labelled || category.review != null)) {
      category.names.forEach((name, verdict) => {
        if (name) all.push(["verdict-" + verdict, "judged " + name, (image) => category.verdict(image) === verdict]);
      });
    }
    return all;
  }

  bars() {
    const category = this.category;
    this.buttons = this.filters().map(([key, name]) => h("button", {
      type: "button", "data-filter": key, "data-name": name, click: () => { this.filter = key; this.restart(); },
    }));
    const option = ([value, text]) => h("option", { value }, text);
    const sorts = [["high", "score, high first"], ["low", "score, low first"]];
    if (category.labelled && category.threshold != null) sorts.push(["wrong", "most wrong first"]);
    sorts.push(["name", "name"]);
    const sort = h("select", { "data-role": "sort", change: (event) => { this.sort = event.target.value; this.restart(); } },
      ...sorts.map(option));
    const defects = [...new Set(category.images.map((image) => image.d).filter((d) => d !== undefined))].sort();
    const defect = defects.length > 1 && h("label", {}, "defect ", h("select", {
      "data-role": "defect", change: (event) => { this.defect = event.target.value; this.restart(); },
    }, ...[["", "any"], ...defects.map((d) => [d, d])].map(option)));
    const search = h("input", {
      type: "search", "data-role": "search", placeholder: "part of the name", "aria-label": "Part of the name",
      input: (event) => { this.text = event.target.value.toLowerCase(); this.restart(); },
    });
    const has = (layer) => category.images.some(layer);
    const toggles = [h("label", {}, layerInput("heat"), "heat map"), h("label", {}, layerInput("opacity"))];
    if (category.labelled) toggles.push(h("label", {}, layerInput("truth"), "ground truth"));
    if (has((image) => image.r)) toggles.push(h("label", {}, layerInput("regions"), "regions"));
    this.previous = h("button", { type: "button", "aria-label": "Page before", click: () => this.turn(-1) }, "‹");
    this.next = h("button", { type: "button", "aria-label": "Page after", click: () => this.turn(1) }, "›");
    this.where = h("span", { "data-role": "where", "aria-live": "polite" });
    this.cards = h("div", { class: "cards", keydown: (event) => this.arrows(event) });
    this.element.append(
      h("div", { class: "bar" }, h("div", { class: "group", role: "group", "aria-label": "Which photographs" }, ...this.buttons)),
      h("div", { class: "bar" }, h("label", {}, "sort by ", sort), defect || null, search),
      h("div", { class: "bar" }, ...toggles, h("span", { class: "pages" }, this.where, this.previous, this.next)),
      this.cards);
  }

  restart() {
    this.page = 0;
    this.update();
  }

  turn(by) {
    this.page += by;
    this.draw();
    this.element.scrollIntoView({ block: "start" });
  }

  /** Sorts and filters anew. */
  update() {
    const category = this.category, filters = this.filters();
    for (const button of this.buttons) {
      const [key, , holds] = filters.find(([key]) => key === button.dataset.filter);
      button.textContent = `${button.dataset.name} ${category.images.filter(holds).length}`;
      button.setAttribute("aria-pressed", String(key === this.filter));
    }
    const holds = filters.find(([key]) => key === this.filter)[2];
    this.list = category.images.filter((image) => holds(image)
      && (this.defect === "" || image.d === this.defect) && image.n.toLowerCase().includes(this.text));
    const by = {
      high: (a, b) => b.s - a.s, low: (a, b) => a.s - b.s,
      wrong: (a, b) => category.wrongness(b) - category.wrongness(a),
      name: (a, b) => (a.n < b.n ? -1 : a.n > b.n ? 1 : 0),
    }[this.sort];
    this.list.sort((a, b) => by(a, b) || a.i - b.i);
    this.draw();
  }

  /** The cards of the page at hand; those of other pages do not exist. */
  draw() {
    const pages = Math.max(1, Math.ceil(this.list.length / PAGE));
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const first = this.page * PAGE, images = this.list.slice(first, first + PAGE);
    this.where.textContent = images.length === 0 ? "none" : `${first + 1}–${first + images.length} of ${this.list.length}`;
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
    this.cards.replaceChildren(...images.map((image, k) => this.card(image, first + k)));
  }

  card(image, index) {
    const category = this.category, wrong = category.mistake(image);
    const card = h("button", {
      type: "button", class: "card" + (wrong ? " wrong" : ""), "data-line": image.i, title: category.folder + image.n,
      "aria-label": this.label(image), click: () => viewer.open(category, this.list, index),
    }, frame(category, image, false),
    h("span", { class: "caption" }, h("span", { class: "name" }, image.n), h("span", { class: "score" }, short(image.s)),
      category.chips(image)));
    return card;
  }

  label(image) {
    const verdict = this.category.verdict(image);
    return [image.n, "score " + short(image.s), verdict === null ? null : "judged " + this.category.names[verdict],
      this.category.mistake(image)].filter(Boolean).join(", ");
  }

  /** Another threshold: what depends on it is sorted and filtered anew, else the cards keep their places. */
  verdictsChanged() {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => this.update());
  }

  arrows(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const cards = [...this.cards.children], at = cards.indexOf(document.activeElement);
    if (by === undefined || at < 0 || !cards[at + by]) return;
    cards[at + by].focus();
    event.preventDefault();
  }
}

/** One photograph, large. */
const viewer = {
  category: null,

  build() {
    const button = (name, text, label, by) => h("button", {
      type: "button", class: "step " + name, "aria-label": label, click: () => this.step(by),
    }, text);
    this.stage = h("div", { class: "stage" });
    this.facts = h("div", {});
    const row = (layer, text, key) => h("label", {}, layerInput(layer), text, h("kbd", {}, key));
    this.dialog = h("dialog", { class: "viewer", tabindex: -1, "aria-label": "Photograph", keydown: (event) => this.key(event) },
      h("div", { class: "stage" }, this.stage, button("previous", "‹", "Photograph before", -1), button("next", "›", "Photograph after", 1)),
      h("aside", {}, h("button", { type: "button", class: "close", "aria-label": "Close", click: () => this.dialog.close() }, "✕"),
        this.facts,
        h("div", { class: "toggles" },
          row("heat", "heat map", "h"),
          h("label", {}, "opacity", layerInput("opacity"), h("kbd", {}, "["), h("kbd", {}, "]")),
          row("truth", "ground truth", "g"), row("regions", "regions", "r")),
        h("small", {}, "← → step, Esc closes, ? shows all keys")));
    this.dialog.addEventListener("close", () => this.closed());
    document.body.append(this.dialog);
  },

  open(category, list, index) {
    Object.assign(this, { category, list: [...list], index });
    this.show();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.focus();
  },

  step(by) {
    const index = this.index + by;
    if (index < 0 || index >= this.list.length) return;
    this.index = index;
    this.show();
  },

  show() {
    const category = this.category, image = this.list[this.index];
    this.stage.replaceChildren(frame(category, image, true));
    const [decode, preprocess, network, postprocess, total] = image.t;
    const facts = [
      h("small", { "data-role": "place" }, `${this.index + 1} of ${this.list.length}`),
      h("h3", {}, image.n),
      category.folder ? h("small", {}, "in " + category.folder) : null,
      h("div", { class: "big", "data-role": "score" }, short(image.s)),
      this.where(image),
      category.chips(image),
    ];
    if (category.threshold != null) facts.push(h("small", {}, `threshold ${short(category.threshold)}`));
    if (image.v !== undefined) facts.push(h("small", {}, `${(100 * image.v).toFixed(0)} % of the photograph was inspected; the rest is gray`));
    if (image.p === 1) facts.push(h("small", {}, "small copy, to keep the file small"));
    if (image.r) {
      const rows = image.r.map(([[x0, y0, x1, y1], area, peak]) => h("tr", {},
        h("td", {}, short(peak)), h("td", {}, String(area)), h("td", {}, `${x0}, ${y0} – ${x1}, ${y1}`)));
      const names = ["peak", "area px", "box px"].map((name) => h("th", { scope: "col" }, name));
      facts.push(h("table", {}, h("thead", {}, h("tr", {}, ...names)), h("tbody", {}, ...rows.slice(0, 12))));
      if (rows.length > 12) facts.push(h("small", {}, `and ${rows.length - 12} more`));
    } else {
      facts.push(h("small", {}, "no region"));
    }
    facts.push(h("small", {}, `${image.z[0]} × ${image.z[1]} pixels; ${total.toFixed(1)} ms: decode ${decode.toFixed(1)}, `
      + `preprocess ${preprocess.toFixed(1)}, network ${network.toFixed(1)}, postprocess ${postprocess.toFixed(1)}`));
    this.facts.replaceChildren(...facts.filter(Boolean));
    this.dialog.querySelector(".previous").disabled = this.index === 0;
    this.dialog.querySelector(".next").disabled = this.index === this.list.length - 1;
    // A button that is disabled while it has the focus would swallow the keys.
    if (this.dialog.open && (!this.dialog.contains(document.activeElement) || document.activeElement.disabled)) {
      this.dialog.focus();
    }
    announce(`${image.n}, score ${short(image.s)}`);
  },

  /** Where the score lies between the lowest and the highest. */
  where(image) {
    const { range, threshold, review } = this.category;
    if (!range) return null;
    const place = (value) => `left: ${100 * Math.min(Math.max((value - range[0]) / (range[1] - range[0]), 0), 1)}%`;
    const marks = h("div", { class: "where", "aria-hidden": "true" }, h("span", { class: "rail" }));
    if (review != null) marks.append(h("span", { class: "limit soft", style: place(review) }));
    if (threshold != null) marks.append(h("span", { class: "limit", style: place(threshold) }));
    marks.append(h("span", { class: "at", style: place(image.s) }));
    return marks;
  },

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const slides = event.target.matches("input[type=range]") && event.key.startsWith("Arrow");
    const act = {
      ArrowRight: () => this.step(1), j: () => this.step(1), ArrowLeft: () => this.step(-1), k: () => this.step(-1),
      Home: () => this.step(-this.index), End: () => this.step(this.list.length - 1 - this.index),
      h: () => { shown.heat = !shown.heat; }, g: () => { shown.truth = !shown.truth; }, r: () => { shown.regions = !shown.regions; },
      "[": () => { shown.opacity = Math.max(0, shown.opacity - 10); }, "]": () => { shown.opacity = Math.min(100, shown.opacity + 10); },
    }[event.key];
    if (!act || slides) return;
    event.preventDefault();
    act();
    showLayers();
  },

  /** Back to the card of the photograph that was seen last, on its page of the gallery. */
  closed() {
    const gallery = this.category.gallery, image = this.list[this.index];
    const index = gallery.list.indexOf(image);
    if (index >= 0 && Math.floor(index / PAGE) !== gallery.page) {
      gallery.page = Math.floor(index / PAGE);
      gallery.draw();
    }
    this.category = null;
    gallery.cards.querySelector(`[data-line="${image.i}"]`)?.focus();
  },
};

let spoken;
function announce(text) {
  spoken.textContent = text;
}

function help() {
  const keys = [
    ["← →", "step through the photographs (also k, j)"], ["Home End", "first, last"], ["h", "heat map"], ["[ ]", "its opacity"],
    ["g", "ground truth"], ["r", "regions"], ["Esc", "close"], ["?", "these keys"],
  ];
  const dialog = h("dialog", { class: "help", "aria-label": "Keys" }, h("h3", {}, "Keys"),
    h("dl", {}, ...keys.flatMap(([key, does]) => [h("dt", {}, ...key.split(" ").map((k) => h("kbd", {}, k))), h("dd", {}, does)])),
    h("button", { type: "button", click: () => dialog.close() }, "close"));
  document.body.append(dialog);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input:not([type=range], [type=checkbox]), select");
    if (event.key !== "?" || typing || dialog.open) return;
    event.preventDefault();
    dialog.showModal();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  themeButton();
  spoken = h("div", { class: "announce", "aria-live": "polite" });
  viewer.build();
  viewer.dialog.append(spoken);
  help();
  const panels = document.querySelectorAll("section.category");
  // A gallery is made when it comes near: a report may have many categories.
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      const category = categories.get(target);
      category.gallery = new Gallery(category, target);
      showLayers();
    }
  }, { rootMargin: "600px" });
  const categories = new Map();
  data.categories.forEach((entry, number) => {
    const category = new Category(entry, number, panels[number]);
    const gallery = panels[number].querySelector(".gallery");
    if (!gallery || category.images.length === 0) return;
    categories.set(gallery, category);
    near.observe(gallery);
  });
  showLayers();
  document.documentElement.dataset.ready = "true";
});
