// What the working pages share: storage that may be absent, announcements, and the registry of keys. The help sheet is
// built from the registry, so a key that works is a key that is explained.
(() => {
  "use strict";

  const Redress = (window.Redress ??= {});
  const TYPING = "textarea, select, [contenteditable=true], input:not([type=radio], [type=checkbox], [type=button], [type=submit])";
  const PRESSABLE = "a, button, summary, input[type=checkbox]";
  const NAMES = {
    ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Delete: "Del", Backspace: "⌫",
    Mod: "Ctrl/⌘", space: "Space",
  };
  const LETTER = /^\p{L}$/u;

  Redress.store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); return true; } catch { return false; } },
    remove: (key) => { try { localStorage.removeItem(key); } catch { /* nothing to do */ } },
    keys: () => { try { return Object.keys(localStorage); } catch { return []; } },
  };

  // Tell people who use a screen reader what a key did; everybody else sees it.
  Redress.say = (text) => {
    const live = document.getElementById("live");
    if (!live) return;
    live.textContent = "";
    setTimeout(() => { live.textContent = text; }, 30); // the same words twice are two announcements
  };

  // "Mod+Shift+z", "ArrowLeft", "?". Ctrl and ⌘ are one. Shift counts with letters and named keys only: signs such as
  // "?" need it on some keyboards and not on others.
  function comboOf(event) {
    let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === " ") key = "space";
    const parts = [];
    if (event.ctrlKey || event.metaKey) parts.push("Mod");
    if (event.altKey) parts.push("Alt");
    if (event.shiftKey && (key.length > 1 || LETTER.test(key))) parts.push("Shift");
    return [...parts, key].join("+");
  }

  const keys = Redress.keys = {
    entries: [],
    mode: null, // name of the mode whose keys come first, for example "words"
    lastUsed: Date.now(),

    // keys: combinations as above. help: what it does, for the sheet. section: a heading of the sheet. show: what the
    // sheet prints instead of the combinations. mode: only in this mode. typing: also inside a text field. repeat:
    // false ignores a key that is held down. run(event): returning false leaves the key to the browser.
    add(...entries) {
      for (const entry of entries) {
        for (const combo of entry.keys ?? []) {
          if (keys.entries.some((other) => other.mode === entry.mode && other.keys.includes(combo))) {
            throw new Error(`The key ${combo} is taken.`);
          }
        }
        keys.entries.push({ keys: [], section: "More", ...entry });
      }
      keys.draw();
    },

    find(combo) {
      const here = keys.mode && keys.entries.find((entry) => entry.mode === keys.mode && entry.keys.includes(combo));
      return here || keys.entries.find((entry) => !entry.mode && entry.keys.includes(combo));
    },

    // The sheet: one table a section, in the order in which keys were added.
    draw() {
      const sheet = document.getElementById("keys-sheet");
      if (!sheet) return;
      const sections = new Map();
      for (const entry of keys.entries) {
        if (!sections.has(entry.section)) sections.set(entry.section, []);
        sections.get(entry.section).push(entry);
      }
      sheet.replaceChildren(...[...sections].flatMap(([title, entries]) => {
        const heading = document.createElement("h3");
        heading.textContent = title;
        const table = document.createElement("table");
        const body = table.createTBody();
        for (const entry of entries) {
          const row = body.insertRow();
          const name = document.createElement("th");
          name.scope = "row";
          name.append(...shown(entry));
          row.append(name);
          row.insertCell().textContent = entry.help;
          row.dataset.keys = entry.keys.join(" ");
        }
        return [heading, table];
      }));
    },
  };

  function shown(entry) {
    const combos = entry.show ?? entry.keys;
    return combos.flatMap((combo, i) => {
      const parts = /^[\p{L}\p{N}+↑↓←→/⌘?.,]+$/u.test(combo) ? combo.split("+") : [combo];
      const nodes = parts.map((part) => {
        const element = document.createElement(parts.length > 1 || part in NAMES || part.length < 10 ? "kbd" : "span");
        element.textContent = NAMES[part] ?? part;
        return element;
      });
      return [i ? " " : "", ...nodes.flatMap((node, n) => (n ? ["+", node] : [node]))];
    });
  }

  document.addEventListener("keydown", (event) => {
    keys.lastUsed = Date.now();
    if (event.defaultPrevented || event.isComposing || !event.key || document.querySelector("dialog[open]")) return;
    const target = event.target;
    const typing = target.matches?.(TYPING);
    const combo = comboOf(event);
    const entry = keys.find(combo);
    if (!entry?.run) return;
    if (typing && !entry.typing) return;
    const off = Redress.store.get("redress-single-keys") === "no";
    if (off && !entry.typing && !entry.mode && !combo.startsWith("Mod+")) return;
    if (!entry.mode) {
      if (target.matches?.("input[type=radio]") && combo.startsWith("Arrow")) return; // the radio group's own keys
      if (target.matches?.(PRESSABLE) && (combo === "Enter" || combo === "space")) return;
    }
    if (event.repeat && entry.repeat === false) { event.preventDefault(); return; }
    if (entry.run(event) !== false) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    keys.lastUsed = Date.now();
    const opener = event.target.closest("[data-open]");
    if (opener) keys.open(opener.dataset.open);
    if (event.target.id === "single-keys") Redress.store.set("redress-single-keys", event.target.checked ? "yes" : "no");
  });
  for (const name of ["pointermove", "scroll"]) {
    document.addEventListener(name, () => { keys.lastUsed = Date.now(); }, { passive: true });
  }

  keys.open = (id) => { const dialog = document.getElementById(id); if (dialog && !dialog.open) dialog.showModal(); };
  keys.press = (id) => document.getElementById(id)?.click();

  document.addEventListener("DOMContentLoaded", () => {
    const singleKeys = document.getElementById("single-keys");
    if (singleKeys) singleKeys.checked = Redress.store.get("redress-single-keys") !== "no";
    keys.draw();
  });
})();
