// A browser lets no script read other files of a book that is opened as a file. Search then lists
// pages without the lines around what was found, which it would read from the pages themselves.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
