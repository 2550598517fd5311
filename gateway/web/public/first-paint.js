// Runs before the first paint, so that a dark room never sees a white flash. It is a file of its own, because the
// Content-Security-Policy forbids inline scripts. src/ui/preferences.ts takes over afterwards and uses the same keys.
(function () {
  var root = document.documentElement;
  var stored = {};
  try {
    stored = { theme: localStorage.getItem("starling.theme"), language: localStorage.getItem("starling.language") };
  } catch (refused) {
    // Storage is switched off: the system's wishes are enough.
  }
  var dark = stored.theme ? stored.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "dark" : "light";
  root.lang = stored.language || (/^ru\b/i.test(navigator.language) ? "ru" : "en");
  var bar = document.querySelector('meta[name="theme-color"]');
  if (bar) bar.content = dark ? "#10131b" : "#f5f4ef";
})();
