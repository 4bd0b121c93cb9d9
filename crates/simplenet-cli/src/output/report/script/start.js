// What happens once the page is there.
//
// In: the page and #data. Out: theme button, viewer, a category's controls each, galleries as they come near, and
// data-ready on the page when the first of these stand.

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
