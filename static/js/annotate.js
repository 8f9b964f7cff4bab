// The annotator's page: marks, word diff, drafts and keys. Offsets sent to the server count Unicode code points; the
// browser counts UTF-16 units, so every offset is converted on its way in and out.
(() => {
  "use strict";

  const DRAFT_DELAY = 600; // ms after the last change
  const IDLE_AFTER = 60; // seconds without a sign of life that still count as working
  const DIFF_TIMEOUT = 150; // ms; a longer comparison is given up, and said so
  let task = null;
  let lastActivity = 0;

  const $ = (id) => document.getElementById(id);
  const store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* full or forbidden: the server has it */ } },
    remove: (key) => { try { localStorage.removeItem(key); } catch { /* nothing to do */ } },
  };

  const codePoints = (text, utf16) => { let n = 0; for (const _ of text.slice(0, utf16)) n += 1; return n; };

  // Code point -> UTF-16 offsets for the whole text, once; without astral characters they are the same.
  function utf16Map(text) {
    if (!/[\uD800-\uDFFF]/.test(text)) return null;
    const map = [];
    let at = 0;
    for (const character of text) { map.push(at); at += character.length; }
    map.push(at);
    return map;
  }

  function wordsOf(text) {
    if (window.Intl?.Segmenter) {
      return [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)]
        .filter((part) => part.isWordLike)
        .map((part) => ({ start: part.index, end: part.index + part.segment.length }));
    }
    return [...text.matchAll(/[\p{L}\p{N}\p{M}'’_-]+/gu)].map((m) => ({ start: m.index, end: m.index + m[0].length }));
  }

  class Task {
    constructor(form) {
      this.form = form;
      this.key = form.dataset.key;
      this.draftUrl = form.dataset.draftUrl;
      this.locked = "locked" in form.dataset;
      this.textElement = $("text");
      this.text = this.textElement.textContent;
      this.map = utf16Map(this.text);
      this.spans = JSON.parse(form.elements.spans.value).map((s) => ({ start: this.toUtf16(s.start), end: this.toUtf16(s.end) }));
      this.groups = JSON.parse(form.elements.target_groups.value);
      this.rewrite = $("rewrite");
      this.seconds = Number(form.elements.active_seconds.value) || 0;
      this.dimensions = [...form.querySelectorAll("fieldset.dimension")];
      this.words = null;
      this.cursor = null;
      this.saving = Promise.resolve();
      this.restoreLocal();
      this.current = Math.max(0, this.dimensions.findIndex((d) => !d.querySelector(":checked")));
      this.draw();
      this.showDimension();
      this.showGroups();
      this.showDiff();
      this.listen();
      if (form.closest("#task").querySelector("[role=alert]")) form.closest("#task").querySelector("[role=alert]").scrollIntoView();
    }

    toUtf16(offset) { return this.map ? this.map[offset] : offset; }
    toCodePoints(offset) { return this.map ? codePoints(this.text, offset) : offset; }

    // What the server gets, as a draft or a submit.
    content() {
      const labels = {};
      for (const input of this.form.querySelectorAll("fieldset.dimension input:checked")) labels[input.name.slice(6)] = input.value;
      return {
        labels,
        spans: this.spans.map((s) => ({ start: this.toCodePoints(s.start), end: this.toCodePoints(s.end) })),
        target_groups: this.groups,
        rewrite: this.rewrite.value,
        comment: this.form.elements.comment.value,
        active_seconds: this.seconds,
      };
    }

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
        this.changed();
      });
      this.form.addEventListener("change", (event) => {
        const dimension = event.target.closest("fieldset.dimension");
        if (dimension) { this.current = this.dimensions.indexOf(dimension); this.showDimension(); }
      });
      this.form.addEventListener("focusin", (event) => {
        const dimension = event.target.closest("fieldset.dimension");
        if (dimension) { this.current = this.dimensions.indexOf(dimension); this.showDimension(); }
      });
      this.form.addEventListener("htmx:configRequest", (event) => {
        if (event.target !== this.form) return;
        this.writeHidden();
        Object.assign(event.detail.parameters, { spans: this.form.elements.spans.value,
          target_groups: this.form.elements.target_groups.value, active_seconds: String(this.seconds) });
        clearTimeout(this.draftTimer);
      });
      this.form.addEventListener("htmx:afterRequest", (event) => {
        if (event.target === this.form && event.detail.successful) store.remove(this.storeKey);
      });
      $("group-entry")?.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === ",") { event.preventDefault(); if (!event.ctrlKey && !event.metaKey) this.addGroup(); }
        if (event.key === "Backspace" && !event.target.value && this.groups.length) { this.groups.pop(); this.showGroups(); this.changed(); }
      });
      $("group-entry")?.addEventListener("blur", () => this.addGroup());
      $("copy-text")?.addEventListener("click", () => this.copyText());
      $("mark-selection")?.addEventListener("click", () => this.markSelection(false));
      $("mark-selection")?.addEventListener("pointerdown", (event) => event.preventDefault()); // keep the selection
      this.textElement.addEventListener("mouseup", (event) => this.markSelection(event.altKey));
    }

    // Marks

    selection() {
      const selected = window.getSelection();
      if (!selected.rangeCount || selected.isCollapsed) return null;
      const range = selected.getRangeAt(0);
      if (!this.textElement.contains(range.startContainer) || !this.textElement.contains(range.endContainer)) return null;
      const before = document.createRange();
      before.selectNodeContents(this.textElement);
      before.setEnd(range.startContainer, range.startOffset);
      const start = before.toString().length;
      return { start, end: start + range.toString().length };
    }

    markSelection(exact) {
      if (this.locked) return;
      let span = this.selection();
      if (!span) return;
      if (exact) this.mark(span);
      else {
        this.words ??= wordsOf(this.text);
        const touched = this.words.filter((w) => w.start < span.end && w.end > span.start);
        const raw = this.text.slice(span.start, span.end);
        const trimmed = { start: span.start + raw.length - raw.trimStart().length, end: span.end - (raw.length - raw.trimEnd().length) };
        if (trimmed.start >= trimmed.end) return;
        this.mark({
          start: Math.min(trimmed.start, touched[0]?.start ?? trimmed.start),
          end: Math.max(trimmed.end, touched.at(-1)?.end ?? trimmed.end),
        });
      }
      window.getSelection().removeAllRanges();
    }

    // A new mark swallows those it touches, so that marks never overlap.
    mark(span) {
      const apart = this.spans.filter((s) => s.end <= span.start || s.start >= span.end);
      for (const s of this.spans) if (!apart.includes(s)) { span.start = Math.min(span.start, s.start); span.end = Math.max(span.end, s.end); }
      this.spans = [...apart, span].sort((a, b) => a.start - b.start);
      this.draw();
      this.changed();
    }

    unmark(span) {
      this.spans = this.spans.filter((s) => s !== span);
      this.draw();
      this.changed();
    }

    draw() {
      const pieces = [];
      const edges = new Set([0, this.text.length]);
      for (const s of this.spans) { edges.add(s.start); edges.add(s.end); }
      if (this.cursor) { edges.add(this.cursor.start); edges.add(this.cursor.end); }
      const points = [...edges].sort((a, b) => a - b);
      for (let i = 0; i + 1 < points.length; i += 1) {
        const [start, end] = [points[i], points[i + 1]];
        let node = document.createTextNode(this.text.slice(start, end));
        const marked = this.spans.some((s) => s.start <= start && end <= s.end);
        const under = this.cursor && this.cursor.start <= start && end <= this.cursor.end;
        for (const [wanted, name, cls] of [[marked, "mark", ""], [under, "span", "word-cursor"]]) {
          if (!wanted) continue;
          const element = document.createElement(name);
          if (cls) element.className = cls;
          element.append(node);
          node = element;
        }
        pieces.push(node);
      }
      this.textElement.replaceChildren(...pieces);
      const list = $("marks");
      if (!list) return;
      list.replaceChildren(...this.spans.map((span) => {
        const words = this.text.slice(span.start, span.end);
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = "badge warn";
        const label = document.createElement("bdi");
        label.textContent = words.length > 40 ? `${words.slice(0, 40)}…` : words;
        chip.append(label, " ×");
        chip.setAttribute("aria-label", `Remove the mark on ${words.slice(0, 80)}`);
        chip.addEventListener("click", () => { this.unmark(span); (list.querySelector("button") || $("text-title")).focus(); });
        return chip;
      }));
    }

    // Marking by keyboard: a cursor over words.

    startWords() {
      if (this.locked) return;
      this.words ??= wordsOf(this.text);
      if (!this.words.length) return;
      this.anchor = this.head = this.anchor ?? 0;
      this.moveWords(0, false);
      $("mark-help").hidden = true;
    }

    moveWords(step, extend) {
      this.head = Math.min(this.words.length - 1, Math.max(0, this.head + step));
      if (!extend) this.anchor = this.head;
      const [first, last] = [Math.min(this.anchor, this.head), Math.max(this.anchor, this.head)];
      this.cursor = { start: this.words[first].start, end: this.words[last].end };
      this.draw();
      this.textElement.querySelector(".word-cursor")?.scrollIntoView({ block: "nearest" });
      const marked = this.spans.some((s) => s.start <= this.cursor.start && this.cursor.end <= s.end);
      $("word-help").textContent = this.text.slice(this.cursor.start, this.cursor.end).slice(0, 80) + (marked ? ", marked" : "");
    }

    toggleWords() {
      const inside = this.spans.find((s) => s.start <= this.cursor.start && this.cursor.end <= s.end);
      if (inside) this.unmark(inside); else this.mark({ ...this.cursor });
      this.moveWords(0, false);
    }

    endWords() {
      this.cursor = null;
      this.anchor = undefined;
      this.draw();
      if ($("mark-help")) $("mark-help").hidden = false;
    }

    // Labels

    showDimension() {
      this.dimensions.forEach((d, i) => d.classList.toggle("current", i === this.current && !this.locked));
    }

    moveDimension(step) {
      this.current = Math.min(this.dimensions.length - 1, Math.max(0, this.current + step));
      this.showDimension();
      this.dimensions[this.current].scrollIntoView({ block: "nearest" });
    }

    chooseLevel(number) {
      const input = this.dimensions[this.current]?.querySelectorAll("input")[number - 1];
      if (!input || this.locked) return;
      input.checked = true;
      this.changed();
      if (this.current + 1 < this.dimensions.length) this.moveDimension(1);
    }

    // Target groups

    addGroup() {
      const entry = $("group-entry");
      const group = entry.value.trim().replace(/,$/, "");
      if (group && !this.groups.includes(group)) { this.groups.push(group); this.showGroups(); this.changed(); }
      entry.value = "";
    }

    showGroups() {
      $("groups").replaceChildren(...this.groups.map((group) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = "badge live";
        chip.disabled = this.locked;
        const label = document.createElement("bdi");
        label.textContent = group;
        chip.append(label, this.locked ? "" : " ×");
        chip.setAttribute("aria-label", `Remove the group ${group}`);
        chip.addEventListener("click", () => { this.groups = this.groups.filter((g) => g !== group); this.showGroups(); this.changed(); $("group-entry").focus(); });
        return chip;
      }));
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
      if (this.locked) return;
      if (this.rewrite.value.trim() && this.rewrite.value !== this.text && !window.confirm("Replace what you have written with the text?")) return;
      this.rewrite.value = this.text;
      this.showDiff();
      this.changed();
      this.rewrite.focus();
      this.rewrite.setSelectionRange(0, 0);
    }

    showDiffSoon() {
      clearTimeout(this.diffTimer);
      this.diffTimer = setTimeout(() => this.showDiff(), 120);
    }

    showDiff() {
      if (!this.form.isConnected) return; // the next text is on screen by now
      const figures = $("diff-figures");
      if (!this.rewrite.value.trim()) { $("diff").replaceChildren(); figures.textContent = ""; return; }
      const parts = Diff.diffWordsWithSpace(this.text, this.rewrite.value, { timeout: DIFF_TIMEOUT });
      if (!parts) { $("diff").replaceChildren(); figures.textContent = "The texts are too long or too different for a live comparison."; return; }
      let kept = 0;
      let words = 0;
      $("diff").replaceChildren(...parts.map((part) => {
        const count = (part.value.match(/[\p{L}\p{N}]+/gu) || []).length;
        if (!part.added) words += count;
        if (!part.added && !part.removed) { kept += count; return document.createTextNode(part.value); }
        const element = document.createElement(part.added ? "ins" : "del");
        element.textContent = part.value;
        return element;
      }));
      const share = words ? Math.round((100 * kept) / words) : 0;
      figures.textContent = `keeps ${share} % of the words · length ${(this.rewrite.value.length / this.text.length).toFixed(2)}×`;
    }

    // Drafts: on the server, and in this browser until the server has answered.

    get storeKey() { return `redress-${this.key}`; }

    restoreLocal() {
      const kept = store.get(this.storeKey);
      if (!kept || this.locked) return;
      let content;
      try { content = JSON.parse(kept); } catch { store.remove(this.storeKey); return; }
      for (const [key, level] of Object.entries(content.labels || {})) {
        for (const input of this.form.querySelectorAll(`input[name="label-${CSS.escape(key)}"]`)) input.checked = input.value === level;
      }
      this.spans = content.spans.map((s) => ({ start: this.toUtf16(s.start), end: this.toUtf16(s.end) }));
      this.groups = content.target_groups;
      this.rewrite.value = content.rewrite;
      this.form.elements.comment.value = content.comment;
      this.seconds = Math.max(this.seconds, content.active_seconds);
      this.state("draft restored");
      this.changed(true);
    }

    state(text, bad = false) {
      const element = $("draft-state");
      if (element) { element.textContent = text; element.classList.toggle("bad-text", bad); }
    }

    changed(restored = false) {
      if (this.locked) return;
      lastActivity = Date.now();
      if (!restored) document.querySelector("#task > .note.bad")?.remove(); // it spoke of what was sent, not of what is there now
      store.set(this.storeKey, JSON.stringify(this.content()));
      if (!this.draftUrl) { this.state("change not saved yet"); return; }
      this.state("…");
      clearTimeout(this.draftTimer);
      this.draftTimer = setTimeout(() => this.saveDraft(), DRAFT_DELAY);
    }

    // One request at a time and in order, so that an older draft never arrives last.
    saveDraft(keepalive = false) {
      clearTimeout(this.draftTimer);
      this.draftTimer = null;
      this.saving = this.saving.then(async () => {
        if (task !== this) return;
        const body = JSON.stringify(this.content());
        try {
          const answer = await fetch(this.draftUrl, {
            method: "POST", body, keepalive, credentials: "same-origin",
            headers: { "Content-Type": "application/json", "X-CSRFToken": this.form.elements.csrfmiddlewaretoken.value },
          });
          if (task !== this) return;
          if (answer.ok) {
            if (!this.draftTimer) { this.state("draft saved"); store.remove(this.storeKey); }
          } else if (answer.status === 400) {
            const errors = Object.values(await answer.json()).flat();
            this.state(`draft not saved: ${errors.join(" ")}`, true);
          } else {
            this.state("draft kept in this browser; the server did not take it", true);
          }
        } catch {
          if (task !== this) return;
          this.state("draft kept in this browser; trying again…", true);
          if (!this.draftTimer) this.draftTimer = setTimeout(() => this.saveDraft(), 4000);
        }
      });
      return this.saving;
    }
  }

  function start() {
    const form = $("annotation");
    task = form ? new Task(form) : null;
    document.body.classList.toggle("blurred", store.get("redress-blur") === "yes");
    $("hide")?.setAttribute("aria-pressed", String(document.body.classList.contains("blurred")));
  }

  function toggleBlur() {
    const blurred = document.body.classList.toggle("blurred");
    store.set("redress-blur", blurred ? "yes" : "no");
    $("hide")?.setAttribute("aria-pressed", String(blurred));
  }

  const open = (id) => { const dialog = $(id); if (dialog && !dialog.open) dialog.showModal(); };
  const press = (id) => { const button = $(id); if (button) button.click(); };
  const submit = () => task && !task.locked && task.form.requestSubmit();

  document.addEventListener("keydown", (event) => {
    lastActivity = Date.now();
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") { event.preventDefault(); submit(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (task?.cursor) {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const direction = getComputedStyle(task.textElement).direction === "rtl" ? -1 : 1;
      if (step) { event.preventDefault(); task.moveWords(step * direction, event.shiftKey); return; }
      if (event.key === " ") { event.preventDefault(); task.toggleWords(); return; }
      if (event.key === "Escape" || event.key === "m" || event.key === "Enter") { event.preventDefault(); task.endWords(); return; }
    }
    const typing = target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
    if (typing) { if (event.key === "Escape") { target.blur(); $("text-title")?.focus(); } return; }
    if (store.get("redress-single-keys") === "no") return;
    const onRadio = target.matches("input[type=radio]");
    const actions = {
      ArrowUp: () => task?.moveDimension(-1), ArrowDown: () => task?.moveDimension(1),
      e: () => task?.write(), c: () => task?.copyText(), m: () => task?.startWords(),
      s: () => press("skip"), h: toggleBlur, ArrowLeft: () => press("back"), ArrowRight: () => press("forward"),
      g: () => open("guidelines"), "?": () => open("help"),
    };
    if (onRadio && event.key.startsWith("Arrow")) return; // the radio group's own keys
    if (event.shiftKey && event.key !== "?") return;
    if (/^[1-9]$/.test(event.key)) { if (task) { event.preventDefault(); task.chooseLevel(Number(event.key)); } return; }
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });

  document.addEventListener("click", (event) => {
    lastActivity = Date.now();
    const opener = event.target.closest("[data-open]");
    if (opener) open(opener.dataset.open);
    if (event.target.closest("#hide")) toggleBlur();
    if (event.target.id === "single-keys") store.set("redress-single-keys", event.target.checked ? "yes" : "no");
  });

  // On a touch screen a selection grows by its handles, so marking waits for the button.
  document.addEventListener("selectionchange", () => {
    const button = $("mark-selection");
    if (button && task) button.hidden = !task.selection();
  });
  for (const name of ["pointermove", "scroll"]) document.addEventListener(name, () => { lastActivity = Date.now(); }, { passive: true });

  setInterval(() => {
    if (task && !document.hidden && Date.now() - lastActivity < IDLE_AFTER * 1000) task.seconds += 1;
  }, 1000);

  document.addEventListener("visibilitychange", () => { if (document.hidden && task?.draftTimer) task.saveDraft(true); });
  // A draft on its way must not land after the submit that follows it; the server leaves finished work alone anyway.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id !== "task") return;
    start();
    const focus = document.querySelector("#task [data-focus]");
    focus?.focus({ preventScroll: false });
    window.scrollTo(0, 0);
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (["skip", "back", "forward"].includes(event.target.id) && task?.draftTimer) task.saveDraft(true);
  });
  document.addEventListener("DOMContentLoaded", () => {
    const singleKeys = $("single-keys");
    if (singleKeys) singleKeys.checked = store.get("redress-single-keys") !== "no";
    start();
  });
})();
