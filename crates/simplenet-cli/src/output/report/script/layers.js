// A photograph with what can be laid over it.
//
// In: a photograph's entry of #data and its pictures' element. Out: a frame with heat map, outlines and boxes, and the
// controls that show or hide each of them on the whole page.

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
