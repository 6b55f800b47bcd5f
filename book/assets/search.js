// A browser lets no script read other files of a book that is opened as a file. Search then lists
// pages without the lines around what was found, which it would read from the pages themselves.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
// From a server, it reads pages as without scripts, where each formula stands twice.
addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const usual = Search.htmlToText;
  Search.htmlToText = (page, anchor) => usual(page.replace(/<noscript>.*?<\/noscript>/gs, ""), anchor);
});
