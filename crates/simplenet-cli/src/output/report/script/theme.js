// Light, dark, or as the system has it.
//
// In: what was chosen last, where the browser keeps it. Out: the attribute data-theme, which the style follows, and a button.

// Set before the page is drawn. A browser may keep no settings for a file; the button works all the same.
const THEMES = ["auto", "light", "dark"];
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
