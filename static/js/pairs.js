// The pairs' queue, and the pair's and the text's page: take over a rewrite, see its differences live, decide by keyboard.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window */ } },
  };
  const GRACE = 400; // ms; a key still on its way from the last page must not decide this pair
  let rewrite, timer, untouched, leaving = false;

  function showDiff() {
    const parts = rewrite.value.trim()
      ? Diff.diffWordsWithSpace($("text").textContent, rewrite.value, { timeout: 150 }) : [];
    $("diff").replaceChildren(...(parts || []).map((part) => {
      const element = document.createElement(part.added ? "ins" : part.removed ? "del" : "span");
      element.textContent = part.value;
      return element;
    }));
  }

  // Through the editing command, so that Ctrl+Z brings back what was there.
  function use(source) {
    rewrite.focus();
    rewrite.select();
    if (!document.execCommand("insertText", false, source.dataset.rewrite)) rewrite.value = source.dataset.rewrite;
    $("chosen").value = source.dataset.use;
    rewrite.blur();
    untouched = false;
    showChosen();
    showDiff();
  }

  function showChosen() {
    const chosen = $("chosen").value;
    for (const source of document.querySelectorAll("[data-use]")) {
      const mine = chosen !== "" && source.dataset.use === chosen;
      source.closest("article")?.classList.toggle("chosen", mine);
      if (mine) {
        const edited = rewrite.value.replace(/\r\n/g, "\n") !== source.dataset.rewrite;
        $("chosen-state").textContent = `from ${source.closest("article").querySelector("h2").textContent.trim()}${edited ? ", edited" : ""}`;
      }
    }
    if (!chosen) $("chosen-state").textContent = "";
  }

  function toggleBlur() {
    const blurred = document.body.classList.toggle("blurred");
    store.set("redress-blur", blurred ? "yes" : "no");
    $("hide")?.setAttribute("aria-pressed", String(blurred));
  }

  // The queue: the row in hand is the one whose link has the focus.
  const rows = () => [...document.querySelectorAll("[data-row]")];
  const rowInHand = () => document.activeElement?.closest("tr")?.querySelector("[data-row]");
  function moveRow(step) {
    const all = rows();
    const at = all.indexOf(rowInHand());
    all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + step))]?.focus();
  }
  function tick() {
    const box = rowInHand()?.closest("tr").querySelector("[name=pairs]");
    if (box) { box.checked = !box.checked; countTicks(); }
  }
  function countTicks() {
    const boxes = [...document.querySelectorAll("#ticks [name=pairs]")];
    const ticked = boxes.filter((box) => box.checked).length;
    document.querySelector("#ticks [data-count]").textContent = `${ticked} ticked`;
    const all = document.querySelector("#ticks [data-all]");
    all.checked = ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }

  const press = (id) => { if (!leaving) $(id)?.click(); };
  const tooSoon = () => {
    if (performance.now() > GRACE) return false;
    if ($("chosen-state")) $("chosen-state").textContent = "This page had just opened: press the key again.";
    return true;
  };
  const approve = () => { if (!tooSoon()) press("approve"); };
  const openRejection = () => { const box = $("rejection"); if (box) { box.open = true; $("reason").focus(); } };
  const openSending = () => { const box = $("sending"); if (box) { box.open = true; $("annotation").focus(); } };
  const openAsking = () => { const box = $("asking"); if (box) { box.open = true; $("more").focus(); } };
  const undo = () => { if (!tooSoon() && !leaving) document.querySelector("[data-undo]")?.click(); };
  const openHelp = () => { const help = $("help"); if (help && !help.open) help.showModal(); };

  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      if (!$("settle")) return;
      event.preventDefault();
      const decision = { reason: "reject", "sent-reason": "send-back", annotation: "send-back", more: "ask-more" }[target.id];
      // With a reason half written, only the rewrite's own Ctrl+Enter approves.
      const undecided = target.id !== "rewrite" && document.querySelector("#rejection[open], #sending[open], #asking[open]");
      if (decision || !undecided) press(decision || "approve");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])")) {
      if (event.key === "Escape") { target.blur(); }
      return;
    }
    if (leaving || store.get("redress-single-keys") === "no") return;
    if (/^[0-9]$/.test(event.key) && rewrite) {
      const sources = [...document.querySelectorAll(".annotation")];
      const source = event.key === "0"
        ? document.querySelector("[data-use='']") : sources[Number(event.key) - 1]?.querySelector("[data-use]");
      if (source) { event.preventDefault(); use(source); }
      return;
    }
    const actions = $("ticks") || document.querySelector("[data-row]") ? {
      j: () => moveRow(1), k: () => moveRow(-1), x: tick, u: undo, "?": openHelp,
    } : {
      a: approve, r: openRejection, s: openSending, m: openAsking, u: undo, j: () => press("next"), k: () => press("previous"),
      e: () => rewrite?.focus(), h: toggleBlur, "?": openHelp,
    };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });

  document.addEventListener("click", (event) => {
    const source = event.target.closest("[data-use]");
    if (source && rewrite) { event.preventDefault(); use(source); }
    if (event.target.closest("#next, #previous") && (!rewrite || untouched)) leaving = true;
    if (event.target.closest("#hide")) toggleBlur();
    if (event.target.closest("[data-open=help]")) openHelp();
    if (event.target.id === "single-keys") store.set("redress-single-keys", event.target.checked ? "yes" : "no");
  });

  window.addEventListener("pageshow", () => { leaving = false; }); // back from the browser's history
  window.addEventListener("beforeunload", (event) => { if (rewrite && !untouched) event.preventDefault(); });

  document.addEventListener("DOMContentLoaded", () => {
    document.body.classList.toggle("blurred", store.get("redress-blur") === "yes");
    $("hide")?.setAttribute("aria-pressed", String(document.body.classList.contains("blurred")));
    if ($("single-keys")) $("single-keys").checked = store.get("redress-single-keys") !== "no";
    if ($("ticks")) {
      const all = document.querySelector("#ticks [data-all]");
      all.hidden = false;
      all.addEventListener("change", () => { for (const box of document.querySelectorAll("#ticks [name=pairs]")) box.checked = all.checked; countTicks(); });
      $("ticks").addEventListener("change", countTicks);
      countTicks();
    }
    rewrite = $("settle") ? $("rewrite") : null;
    untouched = true;
    if (!rewrite) return;
    rewrite.addEventListener("input", () => {
      untouched = false;
      clearTimeout(timer);
      timer = setTimeout(() => { showChosen(); showDiff(); }, 120);
    });
    for (const id of ["reason", "sent-reason"]) $(id)?.addEventListener("input", () => { untouched = false; });
    $("settle").addEventListener("submit", (event) => {
      if (leaving) { event.preventDefault(); return; } // a second press on the way out
      leaving = untouched = true;
    });
    showChosen();
    showDiff();
  });
})();
