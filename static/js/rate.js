// The reviewer's page: keys, drafts, and which question is next.
(() => {
  "use strict";

  const DRAFT_DELAY = 500; // ms after the last change
  const IDLE_AFTER = 60; // seconds without a sign of life that still count as working
  let task = null;
  let lastActivity = Date.now();

  const $ = (id) => document.getElementById(id);
  const store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* full or forbidden: the server has it */ } },
    remove: (key) => { try { localStorage.removeItem(key); } catch { /* nothing to do */ } },
  };

  class Task {
    constructor(form) {
      this.form = form;
      this.storeKey = `redress-review-${form.dataset.key}`;
      this.questions = [...form.querySelectorAll("fieldset.question")];
      this.seconds = Number(form.elements.active_seconds.value) || 0;
      this.saving = Promise.resolve();
      this.restoreLocal();
      this.current = Math.max(0, this.questions.findIndex((question) => !question.querySelector(":checked")));
      this.show();
      form.addEventListener("input", () => this.changed());
      form.addEventListener("focusin", (event) => this.at(event.target));
      form.addEventListener("change", (event) => this.at(event.target));
      form.addEventListener("htmx:configRequest", (event) => {
        if (event.target !== form) return;
        event.detail.parameters.active_seconds = String(this.seconds);
        clearTimeout(this.timer);
        this.timer = null;
        this.sent = true; // a draft must not follow the submit
      });
      // The submit waits for a draft that is on its way, so that an older draft never lands after it.
      form.addEventListener("htmx:confirm", (event) => {
        if (event.target !== form) return;
        event.preventDefault();
        const late = new Promise((resolve) => { setTimeout(resolve, 3000); });
        Promise.race([this.saving, late]).then(() => event.detail.issueRequest(true));
      });
      form.addEventListener("htmx:afterRequest", (event) => {
        if (event.target !== form) return;
        if (event.detail.successful) { store.remove(this.storeKey); return; }
        this.sent = false;
        this.timer = setTimeout(() => this.save(), 2000);
      });
    }

    // What the server gets as a draft.
    content() {
      const ratings = {};
      for (const input of this.form.querySelectorAll("input[name^='rating:']:checked")) {
        const [, slot, key] = input.name.split(":");
        (ratings[slot] ??= {})[key] = Number(input.value);
      }
      return {
        ratings,
        preferred: this.form.querySelector("input[name=preferred]:checked")?.value ?? "",
        comment: this.form.elements.comment.value,
        active_seconds: this.seconds,
      };
    }

    restoreLocal() {
      const kept = store.get(this.storeKey);
      if (!kept) return;
      let content;
      try { content = JSON.parse(kept); } catch { store.remove(this.storeKey); return; }
      for (const [slot, answers] of Object.entries(content.ratings || {})) {
        for (const [key, value] of Object.entries(answers)) this.check(`rating:${slot}:${key}`, String(value));
      }
      if (content.preferred) this.check("preferred", content.preferred);
      this.form.elements.comment.value = content.comment || "";
      this.seconds = Math.max(this.seconds, content.active_seconds || 0);
      this.changed();
    }

    check(name, value) {
      for (const input of this.form.querySelectorAll("input[type=radio]")) if (input.name === name) input.checked = input.value === value;
    }

    // Which question the keys answer.

    at(element) {
      const question = element.closest("fieldset.question");
      if (question) { this.current = this.questions.indexOf(question); this.show(); }
    }

    show() {
      this.questions.forEach((question, i) => question.classList.toggle("current", i === this.current));
      const left = this.questions.filter((question) => !question.querySelector(":checked")).length;
      $("open-questions").textContent = left ? `${left} to answer` : "";
    }

    move(step) {
      this.current = Math.min(this.questions.length - 1, Math.max(0, this.current + step));
      this.show();
      this.questions[this.current].scrollIntoView({ block: "nearest" });
    }

    answer(number) {
      const input = this.questions[this.current]?.querySelectorAll("input[type=radio]")[number - 1];
      if (!input || this.sent) return; // what comes after the submit belongs to the next text
      input.checked = true;
      this.changed();
      if (document.activeElement?.matches("input[type=radio]")) document.activeElement.blur();
      if (this.current + 1 < this.questions.length) this.move(1);
    }

    // Drafts: on the server, and in this browser until the server has answered.

    state(text, bad = false) {
      const element = $("draft-state");
      if (element) { element.textContent = text; element.classList.toggle("bad-text", bad); }
    }

    changed() {
      lastActivity = Date.now();
      this.show();
      store.set(this.storeKey, JSON.stringify(this.content()));
      this.state("…");
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save(), DRAFT_DELAY);
    }

    // One request at a time and in order, so that an older draft never arrives last.
    save(keepalive = false) {
      clearTimeout(this.timer);
      this.timer = null;
      this.saving = this.saving.then(async () => {
        if (this.sent || task !== this) return;
        const kept = JSON.stringify(this.content());
        try {
          const answer = await fetch(this.form.dataset.draftUrl, {
            method: "POST", body: kept, keepalive, credentials: "same-origin",
            headers: { "Content-Type": "application/json", "X-CSRFToken": this.form.elements.csrfmiddlewaretoken.value },
          });
          if (answer.ok) {
            if (store.get(this.storeKey) === kept) store.remove(this.storeKey);
            if (task === this && !this.timer) this.state("draft saved");
          } else if (answer.status === 400) {
            if (task === this) this.state(`draft not saved: ${Object.values(await answer.json()).flat().join(" ")}`, true);
          } else if (task === this) this.state("draft kept in this browser; the server did not take it", true);
        } catch {
          if (task !== this) return;
          this.state("draft kept in this browser; trying again…", true);
          if (!this.timer) this.timer = setTimeout(() => this.save(), 4000);
        }
      });
      return this.saving;
    }
  }

  function start() {
    const form = $("rating");
    task = form ? new Task(form) : null;
    showBlur();
    if (form) document.querySelector("#task [role=alert]")?.scrollIntoView({ block: "nearest" });
  }

  function showBlur() {
    const blurred = store.get("redress-blur") === "yes";
    document.body.classList.toggle("blurred", blurred);
    $("hide")?.setAttribute("aria-pressed", String(blurred));
  }

  function toggleBlur() {
    store.set("redress-blur", document.body.classList.contains("blurred") ? "no" : "yes");
    showBlur();
  }

  const open = (id) => { const dialog = $(id); if (dialog && !dialog.open) dialog.showModal(); };
  const press = (id) => $(id)?.click();
  const submit = () => task?.form.requestSubmit();
  const comment = () => { const field = $("comment"); if (field) { field.closest("details").open = true; field.focus(); } };

  document.addEventListener("keydown", (event) => {
    lastActivity = Date.now();
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") { event.preventDefault(); submit(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])")) {
      if (event.key === "Escape") { target.blur(); $("text-title")?.focus(); }
      return;
    }
    if (store.get("redress-single-keys") === "no") return;
    const onRadio = target.matches("input[type=radio]");
    if (onRadio && event.key.startsWith("Arrow")) return; // the radio group's own keys
    if (event.key === "Enter" && target.matches("a, button, summary")) return; // their own key
    if (event.shiftKey && event.key !== "?") return;
    if (/^[1-9]$/.test(event.key)) { if (task) { event.preventDefault(); task.answer(Number(event.key)); } return; }
    const actions = {
      ArrowUp: () => task?.move(-1), ArrowDown: () => task?.move(1), n: submit, Enter: submit,
      b: () => press("back"), ArrowLeft: () => press("back"), ArrowRight: () => press("forward"),
      c: comment, h: toggleBlur, g: () => open("instructions"), "?": () => open("help"),
    };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });

  document.addEventListener("click", (event) => {
    lastActivity = Date.now();
    const opener = event.target.closest("[data-open]");
    if (opener) open(opener.dataset.open);
    if (event.target.closest("#hide")) toggleBlur();
    if (event.target.id === "single-keys") store.set("redress-single-keys", event.target.checked ? "yes" : "no");
  });
  for (const name of ["pointermove", "scroll"]) document.addEventListener(name, () => { lastActivity = Date.now(); }, { passive: true });

  setInterval(() => {
    if (task && !document.hidden && Date.now() - lastActivity < IDLE_AFTER * 1000) task.seconds += 1;
  }, 1000);

  document.addEventListener("visibilitychange", () => { if (document.hidden && task?.timer) task.save(true); });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id === "task" && event.detail.shouldSwap) task = null; // until the next one is in place
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "task") return;
    start();
    const error = document.querySelector("#task [role=alert]");
    document.querySelector("#task [data-focus]")?.focus({ preventScroll: true });
    if (error) error.scrollIntoView({ block: "start" }); else window.scrollTo(0, 0);
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (["back", "forward"].includes(event.target.id) && task?.timer) task.save(true);
  });
  document.addEventListener("DOMContentLoaded", () => {
    const singleKeys = $("single-keys");
    if (singleKeys) singleKeys.checked = store.get("redress-single-keys") !== "no";
    start();
  });
})();
