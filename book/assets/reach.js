// A formula wider than a phone scrolls by itself; the keyboard reaches it, as the theme sees to for
// tables and code.
(() => {
  const reach = () => document.querySelectorAll('mjx-container[display="true"]').forEach((one) => {
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
    else one.removeAttribute("tabindex");
  });
  const typeset = async () => { await (window.formulas ?? window.MathJax?.startup?.promise); reach(); };
  addEventListener("load", typeset);
  addEventListener("resize", reach);
})();
