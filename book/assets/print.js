// On paper a page is light, whatever it is on the screen: the theme's dark colours would be pale there.
(() => {
  const root = document.documentElement;
  let before = null; // the scheme to go back to
  const paper = () => { before ??= root.dataset.theme; root.dataset.theme = "light"; };
  const screen = () => { if (before) root.dataset.theme = before; before = null; };
  const media = matchMedia("print");
  addEventListener("beforeprint", paper);
  addEventListener("afterprint", screen);
  media.addEventListener("change", () => (media.matches ? paper() : screen()));
})();
