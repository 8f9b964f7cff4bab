// Marks on a text: by selecting, by a cursor over words, and changed one by one with the keyboard. Offsets sent to the
// server count Unicode code points; the browser counts UTF-16 units, so every offset is converted on its way in and out.
(() => {
  "use strict";

  const CHIPS = 60; // marks listed as buttons; with more, the rest is a number
  const segmenter = (granularity) => (window.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity }) : null);
  const short = (words, length) => (words.length > length ? `${words.slice(0, length)}…` : words);

  // The UTF-16 offset of every code point, once; without astral characters the two are the same.
  function utf16Map(text) {
    if (!/[\uD800-\uDFFF]/.test(text)) return null;
    const map = [];
    let at = 0;
    for (const character of text) { map.push(at); at += character.length; }
    map.push(at);
    return map;
  }

  function wordsOf(text) {
    const words = segmenter("word");
    if (words) {
      return [...words.segment(text)].filter((part) => part.isWordLike)
        .map((part) => ({ start: part.index, end: part.index + part.segment.length }));
    }
    return [...text.matchAll(/[\p{L}\p{N}\p{M}'’_-]+/gu)].map((m) => ({ start: m.index, end: m.index + m[0].length }));
  }

  class Marks {
    // element: holds the text and nothing else. chips: where marks are listed, or null. before(what): called before a
    // change, for undo. changed(): called after it.
    constructor({ element, chips, locked, before, changed }) {
      Object.assign(this, { element, chips, locked, before, changed });
      this.text = element.textContent;
      this.map = utf16Map(this.text);
      this.spans = [];
      this.cursor = null; // the words under the keyboard's cursor
      this.selected = null; // the mark that keys change
      this.graphemes = segmenter("grapheme");
      element.addEventListener("mouseup", (event) => this.markSelection(event.altKey));
    }

    // Spans as the server has them, in code points.

    get() { return this.spans.map((s) => ({ start: this.toCodePoints(s.start), end: this.toCodePoints(s.end) })); }

    set(spans) {
      this.spans = spans.map((s) => ({ start: this.toUtf16(s.start), end: this.toUtf16(s.end) })).sort((a, b) => a.start - b.start);
      this.selected = null;
      if (Redress.keys.mode === "mark") Redress.keys.mode = null;
      this.draw();
    }

    toUtf16(offset) { return this.map ? this.map[offset] : offset; }

    toCodePoints(offset) {
      if (!this.map) return offset;
      let [low, high] = [0, this.map.length - 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.map[middle] < offset) low = middle + 1; else high = middle;
      }
      return low;
    }

    words() { return (this.allWords ??= wordsOf(this.text)); }
    wordsIn(span, length = 80) { return short(this.text.slice(span.start, span.end), length); }

    // Making and removing

    selection() {
      const selected = window.getSelection();
      if (!selected.rangeCount || selected.isCollapsed) return null;
      const range = selected.getRangeAt(0);
      if (!this.element.contains(range.startContainer) || !this.element.contains(range.endContainer)) return null;
      const before = document.createRange();
      before.selectNodeContents(this.element);
      before.setEnd(range.startContainer, range.startOffset);
      const start = before.toString().length;
      return { start, end: start + range.toString().length };
    }

    // Whole words, unless exactly what was selected is wanted.
    markSelection(exact) {
      if (this.locked) return;
      const span = this.selection();
      if (!span) return;
      if (exact) this.mark(span);
      else {
        const touched = this.words().filter((w) => w.start < span.end && w.end > span.start);
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
      this.before("spans");
      const apart = this.spans.filter((s) => s.end <= span.start || s.start >= span.end);
      for (const s of this.spans) if (!apart.includes(s)) { span.start = Math.min(span.start, s.start); span.end = Math.max(span.end, s.end); }
      this.spans = [...apart, span].sort((a, b) => a.start - b.start);
      this.draw();
      Redress.say(`Marked: ${this.wordsIn(span)}`);
      this.changed();
    }

    unmark(span) {
      this.before("spans");
      this.spans = this.spans.filter((s) => s !== span);
      if (this.selected === span) this.leave(true);
      this.draw();
      Redress.say(`Mark removed: ${this.wordsIn(span)}`);
      this.changed();
    }

    // A cursor over words

    startWords() {
      if (this.locked || !this.words().length) return;
      this.leave(true);
      Redress.keys.mode = "words";
      this.anchor = this.head = 0;
      this.moveWords(0, false);
    }

    moveWords(step, extend) {
      const words = this.words();
      if (getComputedStyle(this.element).direction === "rtl") step = -step;
      this.head = Math.min(words.length - 1, Math.max(0, this.head + step));
      if (!extend) this.anchor = this.head;
      const [first, last] = [Math.min(this.anchor, this.head), Math.max(this.anchor, this.head)];
      this.cursor = { start: words[first].start, end: words[last].end };
      this.draw();
      this.element.querySelector(".word-cursor")?.scrollIntoView({ block: "nearest" });
      const marked = this.spans.some((s) => s.start <= this.cursor.start && this.cursor.end <= s.end);
      Redress.say(this.wordsIn(this.cursor) + (marked ? ", marked" : ""));
    }

    toggleWords() {
      const inside = this.spans.find((s) => s.start <= this.cursor.start && this.cursor.end <= s.end);
      if (inside) this.unmark(inside); else this.mark({ ...this.cursor });
    }

    // Changing one mark

    choose(step) {
      if (this.locked) return;
      if (!this.spans.length) { Redress.say("There are no marks yet."); return; }
      const at = this.spans.indexOf(this.selected);
      const from = this.cursor?.start ?? 0;
      this.cursor = null;
      const next = at >= 0 ? (at + step + this.spans.length) % this.spans.length
        : step > 0 ? Math.max(0, this.spans.findIndex((s) => s.end > from)) : this.spans.length - 1;
      this.selected = this.spans[next];
      Redress.keys.mode = "mark";
      this.draw();
      this.element.querySelector("mark.selected")?.scrollIntoView({ block: "nearest" });
      Redress.say(`Mark ${next + 1} of ${this.spans.length}: ${this.wordsIn(this.selected)}`);
    }

    // Move one end of the chosen mark. direction: 1 right, -1 left, as seen. An end stops at the neighbouring mark, and
    // a mark never becomes empty.
    resize(end, direction, byCharacter) {
      const span = this.selected;
      if (!span || !this.spans.includes(span)) return;
      if (getComputedStyle(this.element).direction === "rtl") direction = -direction;
      const at = this.spans.indexOf(span);
      const low = end === "end" ? span.start + 1 : this.spans[at - 1]?.end ?? 0;
      const high = end === "end" ? this.spans[at + 1]?.start ?? this.text.length : span.end - 1;
      const wanted = byCharacter ? this.characterEdge(span[end], direction) : this.wordEdge(span[end], direction, end);
      const inside = end === "end" ? wanted > span.start : wanted < span.end;
      const value = Math.min(high, Math.max(low, wanted));
      if (!inside || value === span[end]) { Redress.say("The mark cannot go further."); return; }
      this.before("spans");
      span[end] = value;
      this.draw();
      this.element.querySelector("mark.selected")?.scrollIntoView({ block: "nearest" });
      Redress.say(`Marked: ${this.wordsIn(span)}`);
      this.changed();
    }

    wordEdge(from, direction, end) {
      const edges = this.words().map((word) => word[end]);
      if (direction > 0) return edges.find((edge) => edge > from) ?? (end === "end" ? this.text.length : from);
      return edges.findLast((edge) => edge < from) ?? (end === "start" ? 0 : from);
    }

    // The next place between two characters as people see them; an emoji with its modifiers is one.
    characterEdge(from, direction) {
      const at = direction > 0 ? from : from - 1;
      if (at < 0 || at >= this.text.length) return from;
      if (this.graphemes) {
        const here = this.graphemes.segment(this.text).containing(at);
        return direction > 0 ? here.index + here.segment.length : here.index;
      }
      const pair = direction > 0 ? this.text.codePointAt(at) > 0xffff : /[\uDC00-\uDFFF]/.test(this.text[at]);
      return from + direction * (pair ? 2 : 1);
    }

    removeSelected() {
      const span = this.selected;
      if (!span) return;
      const at = this.spans.indexOf(span);
      this.unmark(span);
      if (this.spans.length) {
        this.selected = this.spans[Math.min(at, this.spans.length - 1)];
        Redress.keys.mode = "mark";
        this.draw();
      }
    }

    leave(quiet = false) {
      this.cursor = this.selected = null;
      if (["words", "mark"].includes(Redress.keys.mode)) Redress.keys.mode = null;
      if (!quiet) { this.draw(); Redress.say("Left the marks."); }
    }

    draw() {
      const edges = new Set([0, this.text.length]);
      for (const s of this.spans) { edges.add(s.start); edges.add(s.end); }
      if (this.cursor) { edges.add(this.cursor.start); edges.add(this.cursor.end); }
      const points = [...edges].sort((a, b) => a - b);
      const pieces = [];
      let next = 0; // the first mark that does not end before the piece
      for (let i = 0; i + 1 < points.length; i += 1) {
        const [start, end] = [points[i], points[i + 1]];
        while (next < this.spans.length && this.spans[next].end <= start) next += 1;
        let node = document.createTextNode(this.text.slice(start, end));
        const mark = this.spans[next];
        if (mark && mark.start <= start) {
          const element = document.createElement("mark");
          if (mark === this.selected) element.className = "selected";
          element.append(node);
          node = element;
        }
        if (this.cursor && this.cursor.start <= start && end <= this.cursor.end) {
          const element = document.createElement("span");
          element.className = "word-cursor";
          element.append(node);
          node = element;
        }
        pieces.push(node);
      }
      this.element.replaceChildren(...pieces);
      this.drawChips();
    }

    drawChips() {
      if (!this.chips) return;
      const nodes = this.spans.slice(0, CHIPS).map((span) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = span === this.selected ? "badge warn selected" : "badge warn";
        const label = document.createElement("bdi");
        label.textContent = this.wordsIn(span, 40);
        chip.append(label, " ×");
        chip.setAttribute("aria-label", `Remove the mark on ${this.wordsIn(span)}`);
        chip.addEventListener("click", () => {
          const at = this.spans.indexOf(span);
          this.unmark(span);
          (this.chips.querySelectorAll("button")[Math.min(at, this.spans.length - 1)] ?? document.getElementById("text-title"))?.focus();
        });
        return chip;
      });
      if (this.spans.length > CHIPS) nodes.push(`and ${this.spans.length - CHIPS} more`);
      this.chips.replaceChildren(...nodes);
    }
  }

  Redress.Marks = Marks;
})();
