// The cards below a category.
//
// In: a category. Out: controls and cards, as many as a page has; those of other pages do not exist, so that thousands of
// photographs cost nothing until they are looked at.

/** Cards of one page. */
const PAGE = 48;

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
    /** The cards that stand there, by their photographs. */
    this.drawn = new Map();
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
    if (category.images.some((image) => image.u)) all.push(["unlike", "unlike training", (image) => image.u !== undefined]);
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
    // Frames have the shape of the first photograph, unless it is a very long one.
    const [width, height] = category.images[0].z;
    this.element.style.setProperty("--shape", Math.min(Math.max(width / height, 0.75), 1.8));
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
    // Cards that stay are kept, so that their pictures are not decoded again at each move of the threshold.
    const drawn = this.drawn;
    this.drawn = new Map(images.map((image) => [image, drawn.get(image) ?? this.card(image)]));
    for (const [image, card] of this.drawn) this.judge(card, image);
    const cards = [...this.drawn.values()], children = this.cards.children;
    if (cards.length !== children.length || cards.some((card, k) => card !== children[k])) this.cards.replaceChildren(...cards);
  }

  card(image) {
    const category = this.category;
    return h("button", {
      type: "button", "data-line": image.i, title: category.folder + image.n,
      click: () => viewer.open(category, this.list, this.list.indexOf(image)),
    }, frame(category, image, false),
    h("span", { class: "caption" }, h("span", { class: "name" }, image.n), h("span", { class: "score" }, short(image.s)),
      h("span", { class: "tags" })));
  }

  /** What a card says of the verdict, which the threshold changes. */
  judge(card, image) {
    card.className = "card" + (this.category.mistake(image) ? " wrong" : "");
    card.setAttribute("aria-label", this.label(image));
    card.querySelector(".tags").replaceWith(this.category.chips(image));
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
