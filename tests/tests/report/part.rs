//! A category's part of the page beside what predictions.jsonl says of it.
//!
//! In: a browser with the page. Out: failed assertions. Nothing here is taken from the page's own script or its data: counts,
//! rates, orders and places are worked out anew.

use std::path::Path;

use serde_json::{Value, json};
use simplenet_tests::{browser::Browser, files::lines};

/// One photograph that was judged.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Its line in the file.
    pub(crate) line: usize,
    pub(crate) path: String,
    pub(crate) score: f64,
    pub(crate) anomalous: bool,
    pub(crate) defect: String,
    /// Box and peak score.
    pub(crate) regions: Vec<([f64; 4], f64)>,
    pub(crate) size: [f64; 2],
}

/// What the page should show.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) threshold: f64,
    pub(crate) review: Option<f64>,
    /// Whether there are masks of the defects.
    pub(crate) outlined: bool,
    pub(crate) lines: Vec<Line>,
}

impl Expected {
    pub(crate) fn read(path: &Path) -> Self {
        let all = lines(path);
        let judged = all.iter().enumerate().filter(|(_, line)| line.get("error").is_none());
        let numbers = |value: &Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let line = |(line, of): (usize, &Value)| Line {
            line,
            path: of["path"].as_str().unwrap().into(),
            score: of["score"].as_f64().unwrap(),
            anomalous: of["label"] == "anomalous",
            defect: of["defect"].as_str().unwrap_or_default().into(),
            regions: of["regions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| (numbers(&r["box"]).try_into().unwrap(), r["peak_score"].as_f64().unwrap()))
                .collect(),
            size: numbers(&of["image_size"]).try_into().unwrap(),
        };
        let first = all.iter().find(|line| line.get("error").is_none()).expect("a photograph");
        Self {
            threshold: first["threshold"].as_f64().expect("a threshold"),
            review: first["review_threshold"].as_f64(),
            outlined: first.get("label").is_some_and(|label| !label.is_null()),
            lines: judged.map(line).collect(),
        }
    }

    fn rejected(&self, i: usize) -> bool {
        self.lines[i].score >= self.threshold
    }

    /// How far on the wrong side of the threshold a score is.
    pub(crate) fn wrongness(&self, i: usize) -> f64 {
        let above = self.lines[i].score - self.threshold;
        if self.lines[i].anomalous { -above } else { above }
    }

    pub(crate) fn sorted_scores(&self) -> Vec<f64> {
        let mut scores: Vec<f64> = self.lines.iter().map(|line| line.score).collect();
        scores.sort_by(f64::total_cmp);
        scores
    }

    pub(crate) fn sorted_scores_of(&self, anomalous: bool) -> Vec<f64> {
        let mut scores: Vec<f64> =
            self.lines.iter().filter(|line| line.anomalous == anomalous).map(|line| line.score).collect();
        scores.sort_by(f64::total_cmp);
        scores
    }

    /// The photographs for which `holds`, smallest key first, then as they stand in the file.
    pub(crate) fn order(&self, holds: impl Fn(usize) -> bool, key: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.lines.len()).filter(|i| holds(*i)).collect();
        order.sort_by(|a, b| key(*a).total_cmp(&key(*b)).then(a.cmp(b)));
        order
    }

    /// The gallery's filters by name, each with what it lets through.
    pub(crate) fn filters(&self) -> [(&'static str, Box<dyn Fn(usize) -> bool>); 6] {
        let of = |holds: fn(&Self, usize) -> bool| -> Box<dyn Fn(usize) -> bool> {
            let all = self.clone();
            Box::new(move |i| holds(&all, i))
        };
        [
            ("all", of(|_, _| true)),
            ("wrong", of(|e, i| e.rejected(i) != e.lines[i].anomalous)),
            ("missed", of(|e, i| e.lines[i].anomalous && !e.rejected(i))),
            ("rejected", of(|e, i| !e.lines[i].anomalous && e.rejected(i))),
            ("good", of(|e, i| !e.lines[i].anomalous)),
            ("bad", of(|e, i| e.lines[i].anomalous)),
        ]
    }

    /// What the viewer shows of the photograph `i`, which is number `index` of its list.
    pub(crate) fn check_viewer(&self, browser: &mut Browser, i: usize, index: usize, what: &str) {
        let line = &self.lines[i];
        let place = browser.text(".viewer [data-role=place]");
        assert!(place.starts_with(&format!("{} of ", index + 1)), "{what}: {place}, expected {}", index + 1);
        let name = browser.text(".viewer h3");
        assert!(line.path.ends_with(&name), "{what}: {name} is not {}", line.path);
        assert_eq!(browser.text(".viewer [data-role=score]"), score(line.score), "{what}: {name}");
        let seen = browser.value(
            "(async () => { const f = document.querySelector('.viewer .frame');
             const images = [...f.querySelectorAll('img')]; await Promise.all(images.map(i => i.decode()));
             const box = r => ['x', 'y', 'width', 'height'].map(a => Number(r.getAttribute(a)));
             return { images: images.map(i => [i.className, i.naturalWidth / i.naturalHeight]),
               truth: !!f.querySelector('.truth path.edge')?.getAttribute('d'),
               boxes: [...f.querySelectorAll('.regions rect.edge')].map(box),
               peaks: [...f.querySelectorAll('.regions text')].map(t => t.textContent),
               rows: document.querySelectorAll('.viewer tbody tr').length }; })()",
        );
        let shape = line.size[0] / line.size[1];
        for (picture, class) in seen["images"].as_array().unwrap().iter().zip(["", "heat"]) {
            assert_eq!(picture[0], class, "{what}: {name}");
            let got = picture[1].as_f64().unwrap();
            assert!((got / shape - 1.0).abs() < 0.02, "{what}: {name}: {got} wide for {shape}");
        }
        assert_eq!(seen["images"].as_array().unwrap().len(), 2, "{what}: {name}: photograph and heat map");
        assert_eq!(
            seen["truth"],
            self.outlined && line.anomalous,
            "{what}: {name}: the true defect's outline"
        );
        let boxes: Vec<[f64; 4]> =
            line.regions.iter().map(|([x0, y0, x1, y1], _)| [*x0, *y0, x1 - x0, y1 - y0]).collect();
        let as_numbers: Vec<[f64; 4]> = serde_json::from_value(seen["boxes"].clone()).unwrap();
        assert_eq!(as_numbers, boxes, "{what}: {name}: regions");
        let peaks: Vec<String> = line.regions.iter().map(|(_, peak)| score(*peak)).collect();
        assert_eq!(seen["peaks"], json!(peaks), "{what}: {name}");
        assert_eq!(seen["rows"], boxes.len().min(12), "{what}: {name}: rows of the table");
    }
}

/// The number of a category on the page, from 1.
pub(crate) struct Part(pub(crate) usize);

impl Part {
    pub(crate) fn first() -> Self {
        Self(1)
    }

    /// A selector within this part.
    pub(crate) fn of(&self, selector: &str) -> String {
        format!("#category-{} {selector}", self.0)
    }

    /// A gallery is made when it comes near.
    pub(crate) fn show_gallery(&self, browser: &mut Browser) {
        let gallery = json!(self.of(".gallery"));
        browser.value(&format!("document.querySelector({gallery}).scrollIntoView()"));
        browser.wait(&format!("!!document.querySelector({})", json!(self.of(".card"))));
        browser.settle();
    }

    /// The lines of the cards, as they stand.
    pub(crate) fn cards(&self, browser: &mut Browser) -> Vec<usize> {
        let all = format!(
            "[...document.querySelectorAll({})].map(card => Number(card.dataset.line))",
            json!(self.of(".card"))
        );
        serde_json::from_value(browser.value(&all)).unwrap()
    }

    /// Counts, rates, sentence, filters, marks and cards at the threshold at hand.
    pub(crate) fn check(&self, browser: &mut Browser, expected: &Expected, what: &str) {
        browser.settle();
        let count = |anomalous: bool, rejected: bool| {
            let of =
                |i: &usize| expected.lines[*i].anomalous == anomalous && expected.rejected(*i) == rejected;
            (0..expected.lines.len()).filter(of).count()
        };
        let (passed, false_rejects) = (count(false, false), count(false, true));
        let (missed, found) = (count(true, false), count(true, true));
        let (good, bad) = (passed + false_rejects, missed + found);
        for (cell, n) in [("good-0", passed), ("good-2", false_rejects), ("bad-0", missed), ("bad-2", found)]
        {
            let shown = browser.text(&self.of(&format!("[data-n={cell}]")));
            assert_eq!(shown, n.to_string(), "{what}: {cell} at {}", expected.threshold);
        }
        let share = |part: usize, of: usize| match of {
            0 => String::from("n/a"),
            _ => format!("{:.1} %", 100.0 * part as f64 / of as f64),
        };
        for (name, want) in [
            ("recall", share(found, bad)),
            ("missed", share(missed, bad)),
            ("rejected", share(false_rejects, good)),
            ("precision", share(found, found + false_rejects)),
        ] {
            assert_eq!(browser.text(&self.of(&format!("[data-rate={name}]"))), want, "{what}: {name}");
        }
        let lost = if missed > 0 { format!(", {missed} missed") } else { String::new() };
        let sentence = format!(
            "{found} of {bad} defective parts found{lost}; {false_rejects} of {good} good parts rejected."
        );
        assert_eq!(browser.text(&self.of("[data-role=sentence]")), sentence, "{what}");
        for (filter, holds) in expected.filters() {
            let n = (0..expected.lines.len()).filter(|i| holds(*i)).count();
            let text = browser.text(&self.of(&format!("[data-filter={filter}]")));
            assert!(text.ends_with(&format!(" {n}")), "{what}: {text}, expected {n}");
        }
        let cards = self.cards(browser);
        let red = cards.iter().filter(|i| expected.rejected(**i) != expected.lines[**i].anomalous).count();
        let wrong =
            browser.value(&format!("document.querySelectorAll({}).length", json!(self.of(".card.wrong"))));
        assert_eq!(wrong, red, "{what}: cards with a red frame");

        // The mark of the ROC curve is at these rates, and it lies on the curve.
        let mark = browser.value(&format!(
            "(() => {{ const s = document.querySelector({}), m = s.querySelector('.mark'), d = s.dataset;
             const x = Number(m.getAttribute('cx')), y = Number(m.getAttribute('cy'));
             return [(x - d.left) / (d.right - d.left), (d.bottom - y) / (d.bottom - d.top),
               s.querySelector('path.line').isPointInStroke(new DOMPoint(x, y))]; }})()",
            json!(self.of("[data-role=roc] svg"))
        ));
        let wanted = [false_rejects as f64 / good as f64, found as f64 / bad as f64];
        for (axis, want) in wanted.iter().enumerate() {
            let got = mark[axis].as_f64().unwrap();
            assert!(
                (got - want).abs() < 1e-4,
                "{what}: the mark of the ROC curve is at {mark}, not at {wanted:?}"
            );
        }
        assert_eq!(mark[2], true, "{what}: the mark is beside the curve");

        // The line in the histogram parts the bars as the threshold parts the scores.
        let line = browser.value(&format!(
            "(() => {{ const s = document.querySelector({}), x = e => Number(e.getAttribute('x'));
             const l = Number(s.querySelector('line.threshold').getAttribute('x1'));
             const middles = c => [...s.querySelectorAll('rect.' + c)].filter(r => r.querySelector('title'))
               .map(r => [x(r) + Number(r.getAttribute('width')) / 2, parseInt(r.querySelector('title').textContent)]);
             const width = Number(s.querySelector('rect.good title').parentNode.getAttribute('width')) + 1.5;
             const beyond = c => middles(c).map(([m, n]) => [m > l + width ? n : 0, m > l - width ? n : 0])
               .reduce((a, b) => [a[0] + b[0], a[1] + b[1]], [0, 0]);
             return {{ good: beyond('good'), bad: beyond('bad') }}; }})()",
            json!(self.of("svg.histogram"))
        ));
        for (class, n) in [("good", false_rejects), ("bad", found)] {
            let [least, most]: [usize; 2] = serde_json::from_value(line[class].clone()).unwrap();
            assert!(
                (least..=most).contains(&n),
                "{what}: {n} {class} are rejected, {least} to {most} are right of the line"
            );
        }
    }
}

/// The lowest contrast of a text and its ground on the page, by WCAG's formula, and the text.
pub(crate) fn lowest_contrast(browser: &mut Browser) -> (f64, String) {
    let worst = browser.value(
        "(() => {
          const parse = text => { const n = text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0]; return n.length < 4 ? [...n, 1] : n; };
          const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b; };
          const ground = e => { for (let at = e; at; at = at.parentElement) {
            const c = parse(getComputedStyle(at).backgroundColor); if (c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
          let worst = [99, ''];
          for (const e of document.querySelectorAll('body *')) {
            const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            if (!own || e.closest('.frame, script, :disabled, .announce') || !e.checkVisibility()) continue;
            const s = getComputedStyle(e), text = parse(e.closest('svg') ? s.fill : s.color).slice(0, 3);
            const [a, b] = [lum(text), lum(ground(e))], ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (ratio < worst[0]) worst = [ratio, e.className + ' ' + e.textContent.slice(0, 40)];
          }
          return worst;
        })()",
    );
    (worst[0].as_f64().unwrap(), worst[1].as_str().unwrap().into())
}

/// A score as people read it.
fn score(value: f64) -> String {
    match value.abs() {
        size if value != 0.0 && !(1e-2..1e5).contains(&size) => format!("{value:.2e}"),
        _ => format!("{value:.3}"),
    }
}
