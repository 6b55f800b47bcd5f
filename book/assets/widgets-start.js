// After the widget manager: draw the page's widgets as soon as the page is read, not when its pictures
// and fonts are there, too.
window.require(["@jupyter-widgets/html-manager/dist/libembed-amd", "@jupyter-widgets/html-manager"], (manager) => {
  window.managerIsThere();
  manager.renderWidgets();
});
