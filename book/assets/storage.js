// Where a browser lets pages keep nothing (cookies are blocked), reading `localStorage` throws, or gives
// null, and with it would end whatever script of the theme or of the search asked. Here, before them all,
// such a page gets one that lasts as long as the page.
for (const name of ["localStorage", "sessionStorage"]) {
  try {
    window[name].getItem(name);
  } catch {
    const kept = new Map();
    Object.defineProperty(window, name, { configurable: true, value: {
      getItem: (key) => kept.get(String(key)) ?? null,
      setItem: (key, value) => { kept.set(String(key), String(value)); },
      removeItem: (key) => { kept.delete(String(key)); },
      clear: () => kept.clear(),
      key: (k) => [...kept.keys()][k] ?? null,
      get length() { return kept.size; },
    } });
  }
}
