// The reviewer's page: keys, drafts, which question is next, the words of the levels, and what differs from the original.
(() => {
  "use strict";

  const IDLE_AFTER = 60; // seconds without a sign of life that still count as working
  let page = null; // the form on screen, to rate or to guess

  const $ = (id) => document.getElementById(id);
  const { store, keys, say } = Redress;
  const ANSWER = ".scale input, .segmented input";

  // Questions and keys: what the pages to rate and to guess share.
  class Page {
    constructor(form) {
      this.form = form;
      this.all = [...form.querySelectorAll("fieldset.question")];
      this.sent = false;
      form.addEventListener("input", (event) => this.changed(event.target));
      for (const name of ["focusin", "change", "pointerdown"]) form.addEventListener(name, (event) => this.at(event.target));
      this.markFirstOpen();
    }

    get questions() { return this.all.filter((question) => !question.hidden); }
    get question() { return this.questions[this.current]; }

    markFirstOpen() {
      this.current = Math.max(0, this.questions.findIndex((question) => !question.querySelector(":checked")));
      this.show();
    }

    at(element) {
      const question = element.closest?.("fieldset.question");
      if (!question) return;
      if (question !== this.question) keys.mode = null;
      this.current = this.questions.indexOf(question);
      this.show();
    }

    show() {
      const { questions } = this;
      questions.forEach((question, i) => question.classList.toggle("current", i === this.current));
      const left = questions.filter((question) => !question.querySelector(":checked")).length;
      const counter = $("open-questions");
      if (counter) counter.textContent = left ? `${left} left` : "";
    }

    move(step) {
      keys.mode = null;
      this.current = Math.min(this.questions.length - 1, Math.max(0, this.current + step));
      this.show();
      this.question?.scrollIntoView({ block: "nearest" });
    }

    answer(number) {
      this.check(this.question?.querySelectorAll(ANSWER)[number - 1]);
    }

    check(input) {
      if (!input || this.sent || this.drafts?.sent) return; // what comes after the submit belongs to the next page
      input.checked = true;
      if (document.activeElement?.matches("input[type=radio]")) document.activeElement.blur();
      const { question } = this;
      this.changed(input);
      const words = `${nameOf(question)}: ${labelOf(input)}`;
      if (question === this.question && this.current + 1 < this.questions.length) this.move(1);
      say(question === this.question ? words : `${words}. Next: ${nameOf(this.question)}`);
    }

    changed() { this.show(); }
    mayNotJudge() {}
  }

  const nameOf = (question) => question?.dataset.name ?? question?.querySelector("legend").textContent.trim() ?? "";
  const labelOf = (input) => {
    if (!input) return "";
    const label = input.closest("label").cloneNode(true);
    label.querySelector("kbd")?.remove();
    return input.getAttribute("aria-label") ?? label.textContent.replace(/\s+/g, " ").trim();
  };

  class Rating extends Page {
    constructor(form) {
      super(form);
      this.seconds = Number(form.elements.active_seconds.value) || 0;
      form.addEventListener("htmx:configRequest", (event) => {
        if (event.target === form) event.detail.parameters.active_seconds = String(this.seconds);
      });
      form.addEventListener("htmx:afterRequest", (event) => {
        if (event.target === form && event.detail.successful && !form.dataset.revision) Redress.pause.worked({ texts: 1 });
      });
      for (const name of ["pointerover", "pointerout", "focusin", "focusout"]) {
        form.addEventListener(name, (event) => {
          const label = event.target.closest?.(".scale label");
          if (!label || event.pointerType === "touch") return;
          this.words(label.closest(".question"), name.endsWith("over") || name === "focusin" ? label : null);
        });
      }
      this.follow();
      this.markFirstOpen();
      this.drafts = new Redress.Drafts({
        form, content: () => this.content(), apply: (content) => this.apply(content),
        differences: (mine, theirs) => this.differences(mine, theirs),
      });
    }

    // What the server gets as a draft.
    content() {
      const ratings = {};
      for (const input of this.form.querySelectorAll("input[name^='rating:']:checked")) {
        const [, slot, key] = input.name.split(":");
        (ratings[slot] ??= {})[key] = /^\d$/.test(input.value) ? Number(input.value) : input.value;
      }
      return {
        ratings,
        preferred: this.chosen("preferred"),
        worst: this.chosen("worst"),
        comment: this.form.elements.comment.value,
        active_seconds: this.seconds,
      };
    }

    chosen(name) { return this.form.querySelector(`input[name='${name}']:checked`)?.value ?? ""; }

    apply(content) {
      for (const input of this.form.querySelectorAll("input[type=radio]")) {
        const [kind, slot, key] = input.name.split(":");
        const wanted = kind === "rating" ? content.ratings?.[slot]?.[key] : content[kind];
        input.checked = String(wanted ?? "") === input.value;
      }
      this.form.elements.comment.value = content.comment || "";
      if (content.comment) $("comment-box").open = true;
      this.seconds = Math.max(this.seconds, content.active_seconds || 0);
      this.follow();
      this.show();
    }

    differences(mine, theirs) {
      const list = document.createElement("dl");
      list.className = "facts";
      const add = (name, here, there) => {
        if (here === there) return;
        const [term, value] = [document.createElement("dt"), document.createElement("dd")];
        term.textContent = name;
        value.dir = "auto";
        value.textContent = `here: ${here || "–"} · there: ${there || "–"}`;
        list.append(term, value);
      };
      const words = (name, value) => labelOf([...this.form.querySelectorAll("input[type=radio]")].find((input) => input.name === name && input.value === String(value ?? "")));
      for (const question of this.all) {
        const { name } = question.querySelector("input");
        const [kind, slot, key] = name.split(":");
        const value = (content) => (kind === "rating" ? content.ratings?.[slot]?.[key] : content[kind]);
        add(nameOf(question), words(name, value(mine)), words(name, value(theirs)));
      }
      add("Comment", mine.comment, theirs.comment);
      return [list];
    }

    // What follows from an answer on the page: the words of the level, the reason why none is given, and which outputs can
    // still be the worst. `input`: the answer just given.
    follow(input) {
      for (const question of this.all) {
        this.words(question);
        const reasons = question.querySelector(".no-judgement");
        const reason = reasons?.querySelector(":checked");
        if (!reasons) continue;
        reasons.querySelector(".why").textContent = reason ? `: ${labelOf(reason)}` : "";
        reasons.toggleAttribute("data-chosen", Boolean(reason));
      }
      const worst = $("worst");
      if (!worst) return;
      const [best, least] = [this.chosen("preferred"), this.chosen("worst")];
      // One output cannot be both: the later choice stays.
      if (best && best === least) {
        for (const other of this.form.querySelectorAll(`input[name='${input?.name === "worst" ? "preferred" : "worst"}']`)) other.checked = false;
      }
      const nothing = Boolean(this.form.querySelector("#best .no-judgement :checked, #best input[value=tie]:checked"));
      if (nothing) for (const other of worst.querySelectorAll("input")) other.checked = false;
      worst.hidden = nothing;
    }

    words(question, label = null) {
      const line = question.querySelector(".level-words");
      if (!line) return;
      const shown = label ?? question.querySelector(".scale :checked")?.closest("label");
      if (shown) { line.textContent = labelOf(shown.querySelector("input")).replace(" ", ": "); return; }
      const labels = [...question.querySelectorAll(".scale label input")].map((input) => labelOf(input).replace(" ", ": "));
      line.textContent = question.querySelector(".no-judgement :checked") ? "" : `${labels[0]} … ${labels.at(-1)}`;
    }

    changed(input) {
      this.follow(input);
      this.show();
      this.drafts?.changed();
      document.querySelector("#task > .note.bad")?.remove(); // it spoke of what was sent, not of what is there now
    }

    // Why no answer can be given: the keys choose among the reasons until one is chosen.
    mayNotJudge() {
      const reasons = this.question?.querySelector(".no-judgement");
      if (!reasons) return;
      reasons.open = true;
      keys.mode = "reasons";
      reasons.scrollIntoView({ block: "nearest" });
      say(`Why? ${[...reasons.querySelectorAll("label")].map((label, i) => `${i + 1} ${labelOf(label.querySelector("input"))}`).join(", ")}`);
    }

    leaveReasons() {
      keys.mode = null;
      const reasons = this.question?.querySelector(".no-judgement");
      if (reasons) reasons.open = false;
      this.show();
    }

    reason(number) {
      const reasons = this.question?.querySelector(".no-judgement");
      const input = reasons?.querySelectorAll("input")[number - 1];
      if (!input) return;
      keys.mode = null;
      reasons.open = false;
      this.check(input);
      if (input.value === "other" && !this.form.elements.comment.value.trim()) { say("Say in the comment why."); comment(); }
    }
  }

  class Guessing extends Page {
    constructor(form) {
      super(form);
      form.addEventListener("htmx:configRequest", (event) => { if (event.target === form) this.sent = true; });
      form.addEventListener("htmx:afterRequest", () => { this.sent = false; });
    }
  }

  function start() {
    keys.mode = null;
    const [rating, guessing] = [$("rating"), $("guessing")];
    page = rating ? new Rating(rating) : guessing ? new Guessing(guessing) : null;
    Redress.blur.start();
    showWords(store.get("redress-rate-words") === "yes");
    pin((store.get("redress-rate-pinned") ?? (matchMedia("(min-width: 56rem) and (min-height: 40rem)").matches ? "yes" : "no")) === "yes");
    differ(store.get("redress-rate-diff") === "yes");
    if (page) Redress.pause.suggest();
    document.querySelector("#task [role=alert]")?.scrollIntoView({ block: "nearest" });
  }

  // The words of all levels, and the original at the top while one scrolls: on a key, and kept from page to page.

  function showWords(on) {
    document.body.classList.toggle("all-words", on);
    $("all-words")?.setAttribute("aria-pressed", String(on));
  }

  function toggleWords() {
    const on = !document.body.classList.contains("all-words");
    store.set("redress-rate-words", on ? "yes" : "no");
    showWords(on);
    say(on ? "The words of all levels are shown." : "The words of the chosen level are shown.");
    page?.question?.scrollIntoView({ block: "nearest" });
  }

  function pin(on) {
    $("original")?.classList.toggle("pinned", on);
    $("to-original")?.setAttribute("aria-pressed", String(on));
    Redress.reachScrollers();
    room();
  }

  function togglePin() {
    const on = !$("original")?.classList.contains("pinned");
    store.set("redress-rate-pinned", on ? "yes" : "no");
    pin(on);
    say(on ? "The original stays at the top." : "The original scrolls with the page.");
  }

  // What gets the focus is not behind the original where that stays at the top.
  function room() {
    const original = $("original");
    const sticks = original && getComputedStyle(original).position === "sticky";
    document.documentElement.style.setProperty("--above", sticks ? `${original.offsetHeight + 8}px` : "1rem");
  }

  // What differs from the original, in place of the outputs.

  const plain = new WeakMap(); // the element of an output -> its text

  async function differ(on) {
    const button = $("diff-toggle");
    if (!button) return;
    button.setAttribute("aria-pressed", String(on));
    $("diff-legend").hidden = !on;
    const text = $("text").textContent;
    for (const element of document.querySelectorAll("#task .output-text")) {
      if (!plain.has(element)) plain.set(element, element.textContent);
      const output = plain.get(element);
      element.classList.toggle("diff", on);
      if (!on) { element.textContent = output; continue; }
      const { parts } = await Redress.wordDiff({ text, rewrite: output });
      if (button.getAttribute("aria-pressed") !== "true") return;
      if (parts) element.replaceChildren(...Redress.diffNodes(parts));
    }
    room();
  }

  function toggleDiff() {
    const on = $("diff-toggle")?.getAttribute("aria-pressed") !== "true";
    store.set("redress-rate-diff", on ? "yes" : "no");
    differ(on);
    say(on ? "Differences from the original are marked." : "The outputs are shown as they are.");
  }

  const submit = () => { if (page) page.form.requestSubmit(); else keys.press("forward"); };
  const comment = () => { const field = $("comment"); if (field) { field.closest("details").open = true; field.focus(); } };
  const leave = (event) => {
    if (!event.target.matches("textarea, input")) return false;
    event.target.blur();
    $("text-title")?.focus({ preventScroll: true });
    return true;
  };

  const ANSWERS = "Answers", READING = "Reading", GOING = "Going on";
  keys.add(
    { section: ANSWERS, keys: [..."123456789"], show: ["1", "…", "7"], help: "answer the marked question, and go on to the next", run: (event) => page?.answer(Number(event.key)) },
    { section: ANSWERS, keys: ["0", "x"], help: "cannot judge, or cannot choose: then a reason", run: () => page?.mayNotJudge() },
    { section: ANSWERS, mode: "reasons", keys: [..."123456789"], show: ["0", "1", "…", "5"], help: "the reason why not", run: (event) => page?.reason(Number(event.key)) },
    { section: ANSWERS, mode: "reasons", keys: ["Escape", "0", "x"], show: ["0", "Esc"], help: "no reason: back to the question", run: () => page?.leaveReasons() },
    { section: ANSWERS, keys: ["ArrowUp", "ArrowDown"], help: "mark another question", run: (event) => page?.move(event.key === "ArrowDown" ? 1 : -1) },
    { section: ANSWERS, keys: ["c"], help: "write a comment", run: comment },
    { section: ANSWERS, keys: ["Escape"], typing: true, help: "leave the comment", run: leave },
    { section: READING, keys: ["d"], help: "mark what differs from the original", run: toggleDiff },
    { section: READING, keys: ["w"], help: "the words of all levels, or of the chosen one", run: toggleWords },
    { section: READING, keys: ["o"], help: "keep the original at the top while scrolling, or let it go", run: togglePin },
    { section: READING, keys: ["h"], help: "hide or show the texts", run: () => Redress.blur.toggle() },
    { section: READING, keys: ["g"], help: "instructions", run: () => keys.open("instructions") },
    { section: READING, keys: ["?"], help: "this sheet", run: () => keys.open("help") },
    { section: GOING, keys: ["n", "Enter"], repeat: false, help: "finish this page and get the next one", run: submit },
    { section: GOING, keys: ["Mod+Enter"], typing: true, repeat: false, help: "the same, also while writing a comment", run: submit },
    { section: GOING, keys: ["b", "ArrowLeft"], repeat: false, help: "back to the page before, to look at or change", run: () => keys.press("back") },
    { section: GOING, keys: ["ArrowRight"], repeat: false, help: "from there, to the current page", run: () => keys.press("forward") },
  );

  document.addEventListener("click", (event) => {
    if (event.target.closest("#all-words")) toggleWords();
    if (event.target.closest("#to-original")) togglePin();
    if (event.target.closest("#diff-toggle")) toggleDiff();
  });
  window.addEventListener("resize", room);

  // The clock: only a page in front, in use, and not paused.
  setInterval(() => {
    if (!page || document.hidden || Redress.pause.on || Date.now() - keys.lastUsed >= IDLE_AFTER * 1000) return;
    if (page instanceof Rating) page.seconds += 1;
    Redress.pause.worked({ seconds: 1 });
  }, 1000);

  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id === "task" && event.detail.shouldSwap) page = null; // until the next one is in place
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
