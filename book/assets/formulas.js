// Formulas are typeset once the page's views answer, as the script that does it takes as long as they
// do; on a page without views, at once. `window.formulas` is kept when they are.
(() => {
  "use strict";
  const here = new URL(".", document.currentScript.src).href; // the folder of this script
  const PATIENCE = 3000; // milliseconds for the views

  const views = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]').length;
  const ready = () => document.querySelectorAll(".sq-view[data-ready]").length >= views;
  const viewsReady = async () => {
    const start = performance.now();
    while (!ready() && performance.now() - start < PATIENCE) await new Promise((done) => setTimeout(done, 20));
  };
  const load = () => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = here + "vendor/mathjax/tex-mml-chtml.js";
    script.onload = done;
    script.onerror = failed;
    document.head.append(script);
  });
  window.formulas = viewsReady().then(load).then(() => window.MathJax.startup.promise);
})();
