// The pair's page: choose the labels of the consensus, by button or key.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const single = () => { try { return localStorage.getItem("redress-single-keys") !== "no"; } catch { return true; } };

  function choose() {
    const labels = JSON.parse($("use-consensus").dataset.labels);
    for (const [key, level] of Object.entries(labels)) {
      for (const input of document.querySelectorAll("#settle input[type=radio]")) {
        if (input.name !== `label-${key}` || input.value !== level || input.checked) continue;
        input.checked = true;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const button = $("use-consensus");
    if (!button || !$("settle")) return;
    button.hidden = false; // without scripts it could do nothing
    button.addEventListener("click", choose);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "c" || event.ctrlKey || event.metaKey || event.altKey || !single()) return;
      if (document.querySelector("dialog[open]")) return;
      if (event.target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])")) return;
      event.preventDefault();
      choose();
    });
  });
})();
