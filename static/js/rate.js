// The reviewer's page: keys, drafts, and which question is next.
(() => {
  "use strict";

  const IDLE_AFTER = 60; // seconds without a sign of life that still count as working
  let task = null;

  const $ = (id) => document.getElementById(id);
  const { store, keys } = Redress;

  class Task {
    constructor(form) {
      this.form = form;
      this.questions = [...form.querySelectorAll("fieldset.question")];
      this.seconds = Number(form.elements.active_seconds.value) || 0;
      this.current = Math.max(0, this.questions.findIndex((question) => !question.querySelector(":checked")));
      this.show();
      form.addEventListener("input", () => this.changed());
      form.addEventListener("focusin", (event) => this.at(event.target));
      form.addEventListener("change", (event) => this.at(event.target));
      form.addEventListener("htmx:configRequest", (event) => {
        if (event.target === form) event.detail.parameters.active_seconds = String(this.seconds);
      });
      this.drafts = new Redress.Drafts({ form, content: () => this.content(), apply: (content) => this.apply(content) });
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

    apply(content) {
      for (const [slot, answers] of Object.entries(content.ratings || {})) {
        for (const [key, value] of Object.entries(answers)) this.check(`rating:${slot}:${key}`, String(value));
      }
      if (content.preferred) this.check("preferred", content.preferred);
      this.form.elements.comment.value = content.comment || "";
      this.seconds = Math.max(this.seconds, content.active_seconds || 0);
      this.show();
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
      if (!input || this.drafts.sent) return; // what comes after the submit belongs to the next text
      input.checked = true;
      this.changed();
      if (document.activeElement?.matches("input[type=radio]")) document.activeElement.blur();
      if (this.current + 1 < this.questions.length) this.move(1);
    }

    changed() {
      this.show();
      this.drafts.changed();
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

  const submit = () => { task?.form.requestSubmit(); };
  const comment = () => { const field = $("comment"); if (field) { field.closest("details").open = true; field.focus(); } };
  const leave = (event) => {
    if (!event.target.matches("textarea, input")) return false;
    event.target.blur();
    $("text-title")?.focus();
    return true;
  };

  const ANSWERS = "Answers", GOING = "Going on";
  keys.add(
    { section: ANSWERS, keys: [..."123456789"], show: ["1", "…", "5"], help: "answer the marked question, and go on to the next", run: (event) => task?.answer(Number(event.key)) },
    { section: ANSWERS, keys: ["ArrowUp", "ArrowDown"], help: "mark another question", run: (event) => task?.move(event.key === "ArrowDown" ? 1 : -1) },
    { section: ANSWERS, keys: ["c"], help: "write a comment", run: comment },
    { section: ANSWERS, keys: ["Escape"], typing: true, help: "leave the comment", run: leave },
    { section: GOING, keys: ["n", "Enter"], help: "finish this text and get the next one", run: submit },
    { section: GOING, keys: ["Mod+Enter"], typing: true, help: "the same, also while writing a comment", run: submit },
    { section: GOING, keys: ["b", "ArrowLeft"], repeat: false, help: "back to the text before; change it until the study closes", run: () => keys.press("back") },
    { section: GOING, keys: ["ArrowRight"], repeat: false, help: "from there, to the current text", run: () => keys.press("forward") },
    { section: GOING, keys: ["h"], help: "hide or show the texts", run: toggleBlur },
    { section: GOING, keys: ["g"], help: "instructions", run: () => keys.open("instructions") },
    { section: GOING, keys: ["?"], help: "this sheet", run: () => keys.open("help") },
  );

  document.addEventListener("click", (event) => { if (event.target.closest("#hide")) toggleBlur(); });

  setInterval(() => {
    if (task && !document.hidden && Date.now() - keys.lastUsed < IDLE_AFTER * 1000) task.seconds += 1;
  }, 1000);

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
  document.addEventListener("DOMContentLoaded", start);
})();
