// Between require.js and the widget manager: where modules are, what the manager expects of the
// formula script, and what it need not say. Needs no network and works from a file as well as from a server.
(() => {
  "use strict";
  const here = new URL(".", document.currentScript.src).href; // the folder of this script

  // The manager's script defines the @jupyter-widgets modules by name; their paths only tell them
  // where their icon font would be, which pages do not take (book.css). anywidget has a script of its own.
  window.requirejs.config({
    paths: {
      anywidget: here + "vendor/anywidget",
      "@jupyter-widgets": here + "vendor/widgets",
      "@jupyter-widgets/html-manager/dist": here + "vendor/widgets",
    },
  });

  // The manager (1.0.15) warns twice, on each page, of how its own schema of states is written. Nobody who
  // reads the page can do anything about that, and it would hide what matters; all else is said.
  const warn = console.warn;
  console.warn = (...said) => { if (!/^strict mode: use allowUnionTypes/.test(said[0])) warn.apply(console, said); };
  window.managerIsThere = () => { console.warn = warn; };

  // The manager (ipywidgets 8) asks for MathJax 2's queue whenever it writes a label. MathJax 3
  // replaces the object on `window` when it loads, so the queue is handed to whichever is there.
  let last = Promise.resolve();
  const Hub = {
    Queue(call) {
      const element = Array.isArray(call) && call[2];
      if (!element) return;
      last = last
        .then(() => window.MathJax?.startup?.promise)
        .then(() => window.MathJax?.typesetPromise?.([element]))
        .catch((error) => console.warn("a label's formula was not typeset:", error));
    },
  };
  const withHub = (value) => {
    if (value && !value.Hub) value.Hub = Hub;
    return value;
  };
  let current = withHub(window.MathJax);
  Object.defineProperty(window, "MathJax", {
    configurable: true,
    get: () => current,
    set: (value) => { current = withHub(value); },
  });
})();
