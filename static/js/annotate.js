// The annotator's page. It puts together keys, marks, target groups, the word diff, undo and drafts.
//
// For scripts beside it: `redress:task` is sent to the document with the task as its detail once a text is in place (or
// null when none is left), `redress:change` after every change. A task has setLabel(key, level), setLabels({key: level}),
// setRewrite(text), setSpans(spans in code points), setGroups(names), changeAll(content) and content(); what they change
// can be undone. Keys are added with Redress.keys.add, announcements are made with Redress.say.
(() => {
  "use strict";

  const IDLE_AFTER = 60; // seconds without a sign of life that still count as working
  const DIFF_TIMEOUT = 150; // ms; a longer comparison of two drafts is given up, and said so
  const { store, keys, say } = Redress;
  let task = null;

  const NAMES = { labels: "labels", spans: "marks", target_groups: "target groups", rewrite: "rewrite", comment: "comment" };
  const FIELDS = Object.keys(NAMES);

  const $ = (id) => document.getElementById(id);

  class Task {
    constructor(form) {
      this.form = form;
      this.key = form.dataset.key;
      this.locked = "locked" in form.dataset;
      this.rewrite = $("rewrite");
      this.seconds = Number(form.elements.active_seconds.value) || 0;
      this.dimensions = [...form.querySelectorAll("fieldset.dimension")];
      this.done = []; // what undo takes back: {field, value}, the value before
      this.undone = [];
      this.marks = new Redress.Marks({
        element: $("text"), chips: $("marks"), locked: this.locked,
        before: (field) => this.remember(field), changed: () => this.changed(),
      });
      this.text = this.marks.text;
      this.marks.set(JSON.parse(form.elements.spans.value));
      this.groups = new Redress.Groups({
        entry: $("group-entry"), chips: $("groups"), names: JSON.parse(form.elements.target_groups.value),
        change: (names) => this.setGroups(names),
      });
      this.labels = this.get("labels");
      this.showFirstOpen();
      this.showDiff();
      this.listen();
      if (this.locked) return;
      this.drafts = new Redress.Drafts({
        form, content: () => this.content(), apply: (content, undoable) => this.apply(content, undoable),
        differences: (mine, theirs) => this.differences(mine, theirs),
      });
    }

    // The fields of an annotation, by name: what undo remembers, and what scripts beside this one set.

    get(field) {
      if (field === "labels") {
        const chosen = [...this.form.querySelectorAll("fieldset.dimension input:checked")];
        return Object.fromEntries(chosen.map((input) => [input.name.slice(6), input.value]));
      }
      if (field === "spans") return this.marks.get();
      if (field === "target_groups") return [...this.groups.names];
      return (field === "rewrite" ? this.rewrite : this.form.elements.comment).value;
    }

    put(field, value) {
      if (field === "labels") {
        for (const input of this.form.querySelectorAll("fieldset.dimension input")) input.checked = value[input.name.slice(6)] === input.value;
        this.labels = { ...value };
      } else if (field === "spans") this.marks.set(value);
      else if (field === "target_groups") this.groups.set(value);
      else if (field === "rewrite") { this.rewrite.value = this.putIn = value; this.showDiff(); }
      else {
        this.form.elements.comment.value = value;
        if (value) this.form.elements.comment.closest("details").open = true;
      }
    }

    // What the server gets, as a draft or a submit.
    content() {
      return { ...Object.fromEntries(FIELDS.map((field) => [field, this.get(field)])), active_seconds: this.seconds };
    }

    setLabel(key, level) { this.change("labels", { ...this.get("labels"), [key]: level }); }
    setLabels(labels) { this.change("labels", labels); }
    setSpans(spans) { this.change("spans", spans); }
    setGroups(groups) { this.change("target_groups", groups); }
    setRewrite(text) { this.change("rewrite", text); }

    change(field, value) { this.changeAll({ [field]: value }); }

    // Several fields in one step.
    changeAll(content) {
      if (this.locked || this.drafts?.sent) return; // what comes after the submit belongs to the next text
      const fields = FIELDS.filter((field) => field in content);
      this.rememberAll(Object.fromEntries(fields.map((field) => [field, this.get(field)])));
      for (const field of fields) this.put(field, content[field]);
      this.changed();
    }

    // Undo: labels, marks, groups, and rewrites that a key put in. Typing has the text field's own undo.

    remember(field, value = this.get(field)) { this.rememberAll({ [field]: value }); }

    rememberAll(before) {
      this.done.push(before);
      this.undone = [];
    }

    undo(from = this.done, to = this.undone, word = "Undone") {
      if (this.locked) return;
      const step = from.pop();
      if (!step) { say(`Nothing to be ${word.toLowerCase()}.`); return; }
      const fields = Object.keys(step);
      to.push(Object.fromEntries(fields.map((field) => [field, this.get(field)])));
      for (const field of fields) this.put(field, step[field]);
      say(`${word}: ${fields.map((field) => NAMES[field]).join(", ")}`);
      this.changed();
    }

    redo() { this.undo(this.undone, this.done, "Redone"); }

    writeHidden() {
      const content = this.content();
      this.form.elements.spans.value = JSON.stringify(content.spans);
      this.form.elements.target_groups.value = JSON.stringify(content.target_groups);
      this.form.elements.active_seconds.value = this.seconds;
    }

    listen() {
      this.form.addEventListener("input", (event) => {
        if (event.target.id === "group-entry") return;
        if (event.target === this.rewrite) this.showDiffSoon();
        if (event.target.closest("fieldset.dimension")) this.labelsChanged();
        this.changed();
      });
      for (const name of ["change", "focusin"]) {
        this.form.addEventListener(name, (event) => {
          const dimension = event.target.closest("fieldset.dimension");
          if (dimension) { this.current = this.dimensions.indexOf(dimension); this.showDimension(); }
        });
      }
      this.form.addEventListener("htmx:configRequest", (event) => {
        if (event.target !== this.form) return;
        this.writeHidden();
        Object.assign(event.detail.parameters, { spans: this.form.elements.spans.value,
          target_groups: this.form.elements.target_groups.value, active_seconds: String(this.seconds) });
      });
      $("drop-changes")?.addEventListener("click", (event) => {
        this.changeAll(JSON.parse(this.form.dataset.submitted));
        event.target.closest(".note").remove();
        say("What was submitted is shown again. Undo brings your changes back.");
        $("text-title").focus();
      });
      // What a key put into the text field is taken back there too, until something is typed.
      this.rewrite.addEventListener("keydown", (event) => {
        if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.key.toLowerCase() !== "z") return;
        if (this.rewrite.value !== this.putIn || !this.done.length || !("rewrite" in this.done.at(-1))) return;
        event.preventDefault();
        this.undo();
      });
      $("copy-text")?.addEventListener("click", () => this.copyText());
      $("mark-words")?.addEventListener("click", () => this.marks.startWords());
      $("mark-selection")?.addEventListener("click", () => this.marks.markSelection(false));
      $("mark-selection")?.addEventListener("pointerdown", (event) => event.preventDefault()); // keep the selection
    }

    // Labels

    // A level was chosen with the mouse or the radio group's own keys: remember what was there before.
    labelsChanged() {
      this.remember("labels", this.labels);
      this.labels = this.get("labels");
    }

    showFirstOpen() {
      this.current = Math.max(0, this.dimensions.findIndex((d) => !d.querySelector(":checked")));
      this.showDimension();
    }

    showDimension() {
      this.dimensions.forEach((d, i) => d.classList.toggle("current", i === this.current && !this.locked));
    }

    moveDimension(step) {
      this.current = Math.min(this.dimensions.length - 1, Math.max(0, this.current + step));
      this.showDimension();
      const dimension = this.dimensions[this.current];
      dimension.scrollIntoView({ block: "nearest" });
      const level = dimension.querySelector(":checked")?.value;
      say(`${dimension.querySelector("legend").textContent.trim()}: ${level ?? "not chosen yet"}`);
    }

    chooseLevel(number) {
      const dimension = this.dimensions[this.current];
      const input = dimension?.querySelectorAll("input")[number - 1];
      if (!input || this.locked) return;
      this.setLabel(input.name.slice(6), input.value);
      const name = dimension.querySelector("legend").textContent.trim();
      if (this.current + 1 < this.dimensions.length) {
        this.moveDimension(1);
        say(`${name}: ${input.value}. Next: ${this.dimensions[this.current].querySelector("legend").textContent.trim()}`);
      } else say(`${name}: ${input.value}`);
    }

    // Rewrite

    // The first time at the end of what is there; later where the caret was left.
    write() {
      if (this.locked) return;
      this.rewrite.focus();
      if (!this.wrote) this.rewrite.setSelectionRange(this.rewrite.value.length, this.rewrite.value.length);
      this.wrote = true;
    }

    copyText() {
      if (this.locked || this.rewrite.value === this.text) return;
      this.setRewrite(this.text);
      say("The text is copied. Undo brings back what was written before.");
      this.rewrite.focus();
      this.rewrite.setSelectionRange(0, 0);
    }

    showDiffSoon() {
      clearTimeout(this.diffTimer);
      this.diffTimer = setTimeout(() => this.showDiff(), 120);
    }

    // One comparison at a time; what was typed meanwhile is compared after it.
    showDiff() {
      if (!this.form.isConnected) return; // the next text is on screen by now
      const rewrite = this.rewrite.value;
      if (!rewrite.trim()) {
        this.diffWanted = null;
        $("diff").replaceChildren();
        $("diff-figures").textContent = "";
        return;
      }
      this.diffWanted = { text: this.text, rewrite };
      if (!this.diffRuns) this.compare();
    }

    async compare() {
      this.diffRuns = true;
      while (this.diffWanted && this.form.isConnected) {
        const wanted = this.diffWanted;
        this.diffWanted = null;
        const slow = setTimeout(() => { $("diff-figures").textContent = "comparing…"; }, 400);
        const answer = await Redress.wordDiff(wanted);
        clearTimeout(slow);
        if (this.form.isConnected && this.rewrite.value.trim()) this.drawDiff(answer, wanted.rewrite);
      }
      this.diffRuns = false;
    }

    drawDiff({ parts, share, long }, rewrite) {
      const figures = $("diff-figures");
      if (!parts) {
        $("diff").replaceChildren();
        figures.textContent = "The texts are too different for a live comparison.";
        return;
      }
      $("diff").replaceChildren(...Redress.diffNodes(parts));
      const ratio = (rewrite.length / this.text.length).toFixed(2);
      figures.textContent = `keeps ${share} % of the words · length ${ratio}×${long ? " · long passages that are the same are shortened" : ""}`;
    }

    // Drafts: see drafts.js

    changed() {
      if (this.locked) return;
      document.querySelector("#task > .note.bad")?.remove(); // it spoke of what was sent, not of what is there now
      this.drafts?.changed();
      document.dispatchEvent(new CustomEvent("redress:change", { detail: this }));
    }

    // A kept draft, or what was typed in another tab; the latter can be undone.
    apply(content, undoable) {
      const fields = FIELDS.filter((field) => field in content);
      if (undoable) this.rememberAll(Object.fromEntries(fields.map((field) => [field, this.get(field)])));
      for (const field of fields) this.put(field, content[field]);
      this.seconds = Math.max(this.seconds, content.active_seconds ?? 0);
      if (!undoable) this.showFirstOpen();
    }

    differences(mine, theirs) {
      const list = document.createElement("dl");
      list.className = "facts";
      const add = (name, ...nodes) => {
        const [term, value] = [document.createElement("dt"), document.createElement("dd")];
        term.textContent = name;
        value.dir = "auto";
        value.append(...nodes);
        list.append(term, value);
      };
      const either = (name, here, there) => { if (here !== there) add(name, `here: ${here || "–"} · there: ${there || "–"}`); };
      for (const dimension of this.dimensions) {
        const key = dimension.querySelector("input").name.slice(6);
        either(dimension.querySelector("legend").textContent.trim(), mine.labels[key], theirs.labels[key]);
      }
      const marked = (spans) => spans.map((s) => this.marks.wordsIn({ start: this.marks.toUtf16(s.start), end: this.marks.toUtf16(s.end) }, 40)).join(" | ");
      either("Marks", marked(mine.spans), marked(theirs.spans));
      either("Target groups", mine.target_groups.join(", "), theirs.target_groups.join(", "));
      for (const field of ["rewrite", "comment"]) {
        if (mine[field] === theirs[field]) continue;
        const name = field === "rewrite" ? "Rewrite" : "Comment";
        const parts = Diff.diffWordsWithSpace(theirs[field], mine[field], { timeout: DIFF_TIMEOUT });
        if (!parts) { add(name, "very different, or too long to compare here"); continue; }
        const shown = document.createElement("span");
        shown.className = "diff";
        shown.append(...Redress.diffNodes(parts));
        add(name, shown);
      }
      const help = document.createElement("small");
      help.textContent = "Green is only here, red is only there.";
      return list.querySelector(".diff") ? [list, help] : [list];
    }
  }

  function start() {
    keys.mode = null;
    const form = $("annotation");
    task = form ? new Task(form) : null;
    Redress.blur.start();
    renewGuidelines();
    document.dispatchEvent(new CustomEvent("redress:task", { detail: task }));
  }

  // The guidelines stay open beside the text, from page to page, until they are closed.
  const panel = () => $("guidelines");
  const panelKey = (what) => `redress-guidelines-${what}-${panel().dataset.project}`;

  function showGuidelines() {
    const box = panel();
    if (!box) return;
    box.hidden = store.get(panelKey("open")) !== "yes";
    if (!box.hidden) store.set(panelKey("seen"), box.dataset.version);
    const seen = store.get(panelKey("seen"));
    $("guidelines-new").hidden = !seen || seen === box.dataset.version;
    $("toggle-guidelines").setAttribute("aria-expanded", String(!box.hidden));
  }

  function toggleGuidelines() {
    if (!panel()) { say("This project has no guidelines."); return; }
    store.set(panelKey("open"), panel().hidden ? "yes" : "no");
    const inside = panel().contains(document.activeElement);
    showGuidelines();
    if (panel().hidden && inside) $("toggle-guidelines").focus();
    say(panel().hidden ? "The guidelines are closed." : "The guidelines are open beside the text. Shift and g goes there.");
  }

  function readGuidelines() {
    if (!panel()) return;
    if (panel().hidden) toggleGuidelines();
    $("guidelines-text").focus();
  }

  // The lead wrote a new version while somebody works.
  async function renewGuidelines() {
    const box = panel();
    if (!box || !task || task.form.dataset.guidelines === box.dataset.version) return;
    try {
      const answer = await fetch(task.form.dataset.nextUrl, { credentials: "same-origin", redirect: "manual" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("guidelines");
      if (!fresh) return;
      box.replaceWith(fresh);
      showGuidelines();
      say(`The guidelines have changed: version ${fresh.dataset.version}.`);
    } catch { /* with the next text */ }
  }

  const marks = (run) => (event) => { if (task) run(task.marks, event); };
  const LABELS = "Labels", MARKS = "Marks", WRITING = "Rewrite", GOING = "Going on";
  const words = { mode: "words", section: MARKS };
  const mark = { mode: "mark", section: MARKS };
  keys.add(
    { section: LABELS, keys: [..."123456789"], show: ["1", "…", "9"], help: "choose a level of the current dimension, and go on to the next", run: (event) => task?.chooseLevel(Number(event.key)) },
    { section: LABELS, keys: ["ArrowDown"], help: "next dimension", run: () => task?.moveDimension(1) },
    { section: LABELS, keys: ["ArrowUp"], help: "dimension before", run: () => task?.moveDimension(-1) },
    { section: LABELS, keys: ["t"], help: "name a target group: who is it about?", run: () => $("group-entry")?.focus() },
    { section: MARKS, show: ["select with the mouse"], help: "mark whole words; with Alt exactly what is selected" },
    { section: MARKS, keys: ["m"], help: "mark by keyboard: a cursor over the words", run: marks((m) => m.startWords()) },
    { ...words, keys: ["ArrowLeft", "ArrowRight"], help: "in the words: move", run: marks((m, e) => m.moveWords(e.key === "ArrowRight" ? 1 : -1, false)) },
    { ...words, keys: ["Shift+ArrowLeft", "Shift+ArrowRight"], help: "in the words: take in more or fewer", run: marks((m, e) => m.moveWords(e.key === "ArrowRight" ? 1 : -1, true)) },
    { ...words, keys: ["space"], help: "in the words: mark or unmark", run: marks((m) => m.toggleWords()) },
    { ...words, keys: ["Escape", "Enter", "m"], help: "leave the words", run: marks((m) => m.leave()) },
    { section: MARKS, keys: ["."], help: "choose the next mark, to change it", run: marks((m) => m.choose(1)) },
    { section: MARKS, keys: [","], help: "choose the mark before", run: marks((m) => m.choose(-1)) },
    { ...mark, keys: ["ArrowLeft", "ArrowRight"], help: "chosen mark: move its end by a word", run: marks((m, e) => m.resize("end", e.key === "ArrowRight" ? 1 : -1, false)) },
    { ...mark, keys: ["Shift+ArrowLeft", "Shift+ArrowRight"], help: "chosen mark: move its start by a word", run: marks((m, e) => m.resize("start", e.key === "ArrowRight" ? 1 : -1, false)) },
    { ...mark, keys: ["Alt+ArrowLeft", "Alt+ArrowRight", "Mod+ArrowLeft", "Mod+ArrowRight"], show: ["Alt+←", "Alt+→"], help: "chosen mark: move its end by a character (Ctrl does the same)", run: marks((m, e) => m.resize("end", e.key === "ArrowRight" ? 1 : -1, true)) },
    { ...mark, keys: ["Alt+Shift+ArrowLeft", "Alt+Shift+ArrowRight", "Mod+Shift+ArrowLeft", "Mod+Shift+ArrowRight"], show: ["Alt+Shift+←", "Alt+Shift+→"], help: "chosen mark: move its start by a character", run: marks((m, e) => m.resize("start", e.key === "ArrowRight" ? 1 : -1, true)) },
    { ...mark, keys: ["Delete", "Backspace"], help: "chosen mark: remove it", run: marks((m) => m.removeSelected()) },
    { ...mark, keys: ["Escape", "Enter"], help: "leave the marks", run: marks((m) => m.leave()) },
    { section: WRITING, keys: ["e"], help: "write the rewrite", run: () => task?.write() },
    { section: WRITING, keys: ["Escape"], typing: true, help: "leave a text field", run: (event) => { if (!event.target.matches("textarea, input")) return false; event.target.blur(); $("text-title")?.focus(); return true; } },
    { section: WRITING, keys: ["c"], help: "start the rewrite from a copy of the text", run: () => task?.copyText() },
    { section: WRITING, keys: ["l"], help: "comment to the lead", run: () => { const field = $("comment"); if (field) { field.closest("details").open = true; field.focus(); } } },
    { section: GOING, keys: ["Mod+Enter"], typing: true, repeat: false, help: "submit, from anywhere", run: () => { if (task && !task.locked) task.form.requestSubmit(); } },
    { section: GOING, keys: ["u", "Mod+z"], help: "undo the last label, mark, group, or rewrite put in by a key", run: () => task?.undo() },
    { section: GOING, keys: ["Shift+u", "Mod+Shift+z", "Mod+y"], help: "redo", run: () => task?.redo() },
    { section: GOING, keys: ["s"], repeat: false, help: "skip: someone else takes this text", run: () => keys.press("skip") },
    { section: GOING, keys: ["ArrowLeft"], repeat: false, help: "back to your last text; again for the one before", run: () => keys.press("back") },
    { section: GOING, keys: ["ArrowRight"], repeat: false, help: "forward again, up to the current text", run: () => keys.press("forward") },
    { section: GOING, keys: ["h"], help: "hide or show the text", run: () => Redress.blur.toggle() },
    { section: GOING, keys: ["g"], help: "open or close the guidelines beside the text", run: toggleGuidelines },
    { section: GOING, keys: ["Shift+g"], help: "go to the guidelines, to read and scroll", run: readGuidelines },
    { section: GOING, keys: ["?"], help: "this sheet", run: () => keys.open("help") },
  );

  document.addEventListener("click", (event) => {
    if (event.target.closest("#toggle-guidelines, #close-guidelines")) toggleGuidelines();
  });

  // On a touch screen a selection grows by its handles, so marking waits for the button.
  document.addEventListener("selectionchange", () => {
    const button = $("mark-selection");
    if (button && task) button.hidden = !task.marks.selection();
  });

  setInterval(() => {
    if (task && !document.hidden && Date.now() - keys.lastUsed < IDLE_AFTER * 1000) task.seconds += 1;
  }, 1000);

  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "task") return;
    start();
    const alert = document.querySelector("#task [role=alert]");
    document.querySelector("#task [data-focus]")?.focus({ preventScroll: true });
    if (alert) alert.scrollIntoView({ block: "start" }); else window.scrollTo(0, 0);
  });
  document.addEventListener("DOMContentLoaded", () => { showGuidelines(); start(); });
})();
