// The voter's page: two questions on keys, drafts, and the way back through one's own votes.
(() => {
  "use strict";

  const DRAFT_DELAY = 400; // ms after the last change
  const RETRY = 4000; // ms
  let task = null;

  const $ = (id) => document.getElementById(id);
  const store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* full or forbidden: the server has it */ } },
    remove: (key) => { try { localStorage.removeItem(key); } catch { /* nothing to do */ } },
  };

  class Task {
    constructor(form) {
      this.form = form;
      this.storeKey = `redress-${form.dataset.key}`;
      this.draftUrl = form.dataset.draftUrl;
      this.locked = "locked" in form.dataset;
      this.questions = [...form.querySelectorAll("[data-question]")];
      this.saving = Promise.resolve();
      this.restoreLocal();
      this.current = Math.max(0, this.questions.findIndex((q) => !q.querySelector(":checked")));
      this.show();
      form.addEventListener("input", (event) => this.changed(event.target));
      form.addEventListener("focusin", (event) => {
        const question = event.target.closest("[data-question]");
        if (question) { this.current = this.questions.indexOf(question); this.show(); }
      });
      form.addEventListener("htmx:configRequest", (event) => { if (event.target === form) clearTimeout(this.timer); });
      form.addEventListener("htmx:afterRequest", (event) => {
        if (event.target === form && event.detail.successful) store.remove(this.storeKey);
      });
    }

    content() {
      const answer = (name) => ({ yes: true, no: false })[this.form.querySelector(`[name=${name}]:checked`)?.value] ?? null;
      return {
        safe: answer("safe"), keeps_meaning: answer("keeps_meaning"),
        cannot_judge: $("cannot-judge").checked, comment: $("comment").value,
      };
    }

    show() { this.questions.forEach((q, i) => q.classList.toggle("current", i === this.current && !this.locked)); }

    move(step) {
      this.current = Math.min(this.questions.length - 1, Math.max(0, this.current + step));
      this.show();
    }

    answer(value) {
      const input = this.questions[this.current]?.querySelector(`input[value=${value}]`);
      if (!input || this.locked) return;
      input.checked = true;
      this.changed(input);
      if (this.current + 1 < this.questions.length) this.move(1);
    }

    cannotJudge() {
      if (this.locked) return;
      $("cannot-judge").checked = !$("cannot-judge").checked;
      this.changed($("cannot-judge"));
    }

    comment() { $("comment-box").open = true; $("comment").focus(); }

    // Who cannot judge has no answers, and who answers can judge.
    changed(input, restored = false) {
      if (this.locked) return;
      if (input?.id === "cannot-judge" && input.checked) for (const radio of this.form.querySelectorAll("input[type=radio]")) radio.checked = false;
      if (input?.type === "radio") $("cannot-judge").checked = false;
      if (!restored) document.querySelector("#vote-task > .note.bad")?.remove(); // it spoke of what was sent, not of what is there now
      store.set(this.storeKey, JSON.stringify(this.content()));
      if (!this.draftUrl) { this.state("change not saved yet"); return; }
      this.state("…");
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save(), DRAFT_DELAY);
    }

    restoreLocal() {
      const kept = store.get(this.storeKey);
      if (!kept || this.locked) return;
      let content;
      try { content = JSON.parse(kept); } catch { store.remove(this.storeKey); return; }
      for (const name of ["safe", "keeps_meaning"]) {
        for (const radio of this.form.querySelectorAll(`input[name=${name}]`)) radio.checked = content[name] !== null && radio.value === (content[name] ? "yes" : "no");
      }
      $("cannot-judge").checked = content.cannot_judge;
      $("comment").value = content.comment;
      if (content.comment) $("comment-box").open = true;
      this.changed(null, true);
      this.state("draft restored");
    }

    state(text, bad = false) {
      const element = $("draft-state");
      if (element) { element.textContent = text; element.classList.toggle("bad-text", bad); }
    }

    // One request at a time and in order, so that an older draft never arrives last.
    save(keepalive = false) {
      clearTimeout(this.timer);
      this.timer = null;
      this.saving = this.saving.then(async () => {
        if (task !== this) return;
        try {
          const answer = await fetch(this.draftUrl, {
            method: "POST", body: JSON.stringify(this.content()), keepalive, credentials: "same-origin",
            headers: { "Content-Type": "application/json", "X-CSRFToken": this.form.elements.csrfmiddlewaretoken.value },
          });
          if (task !== this) return;
          if (answer.ok) {
            if (!this.timer) { this.state("draft saved"); store.remove(this.storeKey); }
          } else this.state("draft kept in this browser; the server did not take it", true);
        } catch {
          if (task !== this) return;
          this.state("draft kept in this browser; trying again…", true);
          if (!this.timer) this.timer = setTimeout(() => this.save(), RETRY);
        }
      });
    }
  }

  function start() {
    const form = $("vote");
    task = form ? new Task(form) : null;
    document.body.classList.toggle("blurred", store.get("redress-blur") === "yes" || "blur" in (form?.dataset || {}));
    $("hide")?.setAttribute("aria-pressed", String(document.body.classList.contains("blurred")));
    if ($("changes")) $("changes").open = store.get("redress-vote-changes") !== "no";
  }

  function toggleBlur() {
    const blurred = document.body.classList.toggle("blurred");
    store.set("redress-blur", blurred ? "yes" : "no");
    $("hide")?.setAttribute("aria-pressed", String(blurred));
  }

  const toggleChanges = () => { const box = $("changes"); if (box) box.open = !box.open; };
  const open = (id) => { const dialog = $(id); if (dialog && !dialog.open) dialog.showModal(); };
  const press = (id) => $(id)?.click();

  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      event.preventDefault();
      if (task && !task.locked) task.form.requestSubmit();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("textarea")) { if (event.key === "Escape") { target.blur(); $("vote-title")?.focus(); } return; }
    if (store.get("redress-single-keys") === "no") return;
    if (target.matches("input[type=radio]") && event.key.startsWith("Arrow")) return; // the radio group's own keys
    if (event.shiftKey && event.key !== "?") return;
    const actions = {
      y: () => task?.answer("yes"), n: () => task?.answer("no"), u: () => task?.cannotJudge(), c: () => task?.comment(),
      ArrowUp: () => task?.move(-1), ArrowDown: () => task?.move(1),
      ArrowLeft: () => press("back"), ArrowRight: () => press("forward"),
      d: toggleChanges, h: toggleBlur, g: () => open("guidelines"), "?": () => open("help"),
    };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) open(opener.dataset.open);
    if (event.target.closest("#hide")) toggleBlur();
    if (event.target.id === "single-keys") store.set("redress-single-keys", event.target.checked ? "yes" : "no");
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.id === "changes") store.set("redress-vote-changes", event.target.open ? "yes" : "no");
  }, true);
  document.addEventListener("visibilitychange", () => { if (document.hidden && task?.timer) task.save(true); });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (["back", "forward"].includes(event.target.id) && task?.timer) task.save(true);
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "vote-task") return;
    start();
    document.querySelector("#vote-task [data-focus]")?.focus({ preventScroll: false });
    window.scrollTo(0, 0);
  });
  document.addEventListener("DOMContentLoaded", () => {
    if ($("single-keys")) $("single-keys").checked = store.get("redress-single-keys") !== "no";
    start();
  });
})();
