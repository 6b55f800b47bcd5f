// Before the theme's icon script: it replaces icons once, and then leaves the page alone. Watching
// every change would make it rewrite what widgets draw.
window.FontAwesomeConfig = { observeMutations: false };
