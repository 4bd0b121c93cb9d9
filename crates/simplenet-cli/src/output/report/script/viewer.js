// One photograph, large, and the keys.
//
// In: a list of photographs, as the gallery has sorted and filtered it. Out: a dialog that steps through it, and one that
// explains the keys.

/** One photograph, large. */
const viewer = {
  category: null,

  build() {
    const button = (name, text, label, by) => h("button", {
      type: "button", class: "step " + name, "aria-label": label, click: () => this.step(by),
    }, text);
    this.stage = h("div", { class: "stage" });
    this.facts = h("div", { class: "about" });
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
    for (const difference of image.u ?? []) facts.push(h("small", { class: "unlike" }, "unlike the training: " + difference));
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
