// The threshold of a category, with all that follows from it.
//
// In: a category of #data and its panel of the page. Out: verdicts; counts, rates, the histogram's line and the ROC curve's
// mark, changed whenever the threshold is moved.

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
      ? ["A threshold that is chosen here is chosen on test images. ", h("code", {}, "simplenet calibrate"), " sets it from good parts alone."]
      : ["This changes the page only, not the model."];
    this.panel.querySelector(".chart").append(
      h("div", { class: "cut" }, h("span", {}, "threshold"), this.slider, this.field, this.reset, h("small", {}, ...remark)));
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
    if (image.u) chips.append(h("span", { class: "chip unlike", title: image.u.join("; ") }, "unlike training"));
    if (is) chips.append(h("span", { class: "is" }, "is: " + is));
    return chips;
  }
}
