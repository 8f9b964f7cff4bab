// Drafts: on the server as people type, and in this browser until the server has answered. Both pages on which people
// work use it. Where drafts have versions, two tabs or devices never overwrite each other: the server refuses a save
// that is based on an older draft, and the person chooses.
(() => {
  "use strict";

  const { store, say } = Redress;
  const DELAY = 600; // ms after the last change
  const RETRY = [2, 4, 8, 15, 30]; // seconds between attempts while the server does not answer
  const OFFLINE = "kept on this computer; will be saved when the server answers";
  const FORGET = 30 * 24 * 3600 * 1000; // ms after which a copy that nobody came back for is dropped
  const PREFIX = "redress-draft-";
  const KEEPALIVE = 60_000; // bytes; browsers refuse to send more from a page that is going away

  const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const WRITER = hex(crypto.getRandomValues(new Uint8Array(12))); // this tab, until it is loaded again
  let sequence = 0;
  let current = null; // what is on screen now

  const channel = window.BroadcastChannel ? new BroadcastChannel("redress-drafts") : null;
  const tell = (what, drafts) => channel?.postMessage({ what, key: drafts.key, tab: WRITER });

  // The same words whatever the order of keys, which the database changes.
  const sorted = (value) => {
    if (Array.isArray(value)) return value.map(sorted);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
  };
  const IGNORED = { active_seconds: 0, revision: 0 };
  const same = (first, second) => JSON.stringify(sorted({ ...first, ...IGNORED })) === JSON.stringify(sorted({ ...second, ...IGNORED }));
  const timeOf = (date) => new Date(date).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

  class Drafts {
    // form: has data-key and data-draft-url; where drafts have versions also data-version, data-writer and, for a
    // finished text, data-revision. content(): what is kept. apply(content): put a kept content on the page.
    // differences(mine, theirs): nodes that say how two contents differ.
    constructor({ form, content, apply, differences = () => [] }) {
      Object.assign(this, { form, content, apply, differences });
      this.key = form.dataset.key;
      this.url = form.dataset.draftUrl;
      this.versioned = "version" in form.dataset;
      this.version = Number(form.dataset.version);
      this.revision = form.dataset.revision ? Number(form.dataset.revision) : null;
      this.storeKey = PREFIX + this.key;
      this.saving = Promise.resolve();
      this.failures = 0;
      this.dirty = false; // something here has not reached the server
      this.sent = false; // the form is on its way; no draft may follow it
      this.theirs = null; // what stands against what is here, until the person has chosen
      current = this;
      this.listen();
      this.restore();
      if (!this.theirs) this.showAside();
      tell("open", this);
    }

    // The copy in this browser

    keepLocally() {
      const copy = { content: this.content(), version: this.version, revision: this.revision, writer: WRITER, at: Date.now() };
      this.keptHere = store.set(this.storeKey, JSON.stringify(copy));
    }

    restore() {
      const kept = store.get(this.storeKey);
      if (!kept) return;
      let copy;
      try { copy = JSON.parse(kept); } catch { /* not ours */ }
      if (!copy?.content) { store.remove(this.storeKey); return; }
      const shown = this.content();
      if (same(copy.content, shown)) { this.changed(); return; } // the server may not have it yet
      const older = this.versioned && ((copy.revision ?? null) !== this.revision
        || (copy.version < this.version && copy.writer !== this.form.dataset.writer && copy.writer !== WRITER));
      this.apply(copy.content);
      if (older) {
        this.dirty = true;
        this.conflict({ content: shown, version: this.version, revision: this.revision, state: "", saved_at: null, kept_at: copy.at });
        return;
      }
      this.changed();
      this.state("draft restored");
      say("Your draft is restored.");
    }

    // The line beside the buttons that says where the draft is

    state(text, bad = false) {
      if (current !== this) return;
      const element = document.getElementById("draft-state");
      if (element) { element.textContent = text; element.classList.toggle("bad-text", bad); }
    }

    changed() {
      Redress.keys.lastUsed = Date.now();
      this.dirty = true;
      this.keepLocally();
      if (!this.keptHere) this.state("too large to keep on this computer; do not close this page before it is saved", true);
      if (this.sent) return;
      if (this.theirs) { this.showConflictSoon(); return; }
      if (this.failures && this.keptHere) this.state(OFFLINE, true); else if (this.keptHere) this.state("…");
      this.later(this.failures ? RETRY[0] * 1000 : DELAY);
    }

    later(ms) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save(), ms);
    }

    // One request at a time and in order, so that an older draft never arrives last.
    save(keepalive = false) {
      clearTimeout(this.timer);
      this.timer = null;
      this.saving = this.saving.then(() => this.send(keepalive));
      return this.saving;
    }

    async send(keepalive) {
      if (this.sent || this.theirs || current !== this) return;
      const content = this.content();
      const base = this.versioned ? { version: this.version, writer: WRITER, sequence: (sequence += 1), ...(this.revision ? { revision: this.revision } : {}) } : {};
      const body = JSON.stringify({ ...content, ...base });
      let answer;
      try {
        answer = await fetch(this.url, {
          method: "POST", body, keepalive: keepalive && new Blob([body]).size < KEEPALIVE, credentials: "same-origin", redirect: "manual",
          headers: { "Content-Type": "application/json", "X-CSRFToken": this.form.elements.csrfmiddlewaretoken.value },
        });
      } catch { /* no network, or no server */ }
      if (answer?.ok) { await this.saved(answer, content); return; }
      if (answer?.status === 409) { this.conflict(await answer.json()); return; }
      if (answer?.status === 400) {
        const errors = Object.values(await answer.json()).flat();
        this.state(`draft not saved, kept on this computer: ${errors.join(" ")}`, true);
        return;
      }
      this.failures += 1;
      if (answer && Redress.refusal(answer.headers.get("Content-Type"), answer.status)) {
        this.state(`kept on this computer: ${await answer.text()}`, true);
        return;
      }
      const signedOut = answer && (answer.type === "opaqueredirect" || answer.status === 403);
      this.state(signedOut ? "kept on this computer; you are signed out: sign in again in another tab" : OFFLINE, true);
      if (signedOut && this.versioned) this.checkLater();
      else this.later(RETRY[Math.min(this.failures, RETRY.length) - 1] * 1000);
    }

    checkLater() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.check(), RETRY[1] * 1000);
    }

    async saved(answer, content) {
      if (this.failures) document.getElementById("connection")?.setAttribute("hidden", "");
      this.failures = 0;
      const kept = this.versioned ? await answer.json() : {};
      if (this.versioned) this.version = kept.version;
      if (same(this.content(), content)) {
        this.dirty = false;
        store.remove(this.storeKey);
        if (kept.notice) this.state(kept.notice, true); // it is kept, and can no longer count
        else this.state(this.revision ? "draft of the change saved" : "draft saved");
      } else this.keepLocally(); // with the version that it is based on now
      tell("saved", this);
    }

    // Another tab or device

    // What the server has now. A newer draft replaces what is here if nothing here is unsaved; else the person chooses.
    async check() {
      if (!this.versioned || this.sent || this.theirs || current !== this) return;
      let facts;
      try {
        const answer = await fetch(this.url, { credentials: "same-origin", redirect: "manual" });
        if (!answer.ok) { if (this.dirty) this.checkLater(); return; } // signed out still
        facts = await answer.json();
      } catch { if (this.dirty) this.later(RETRY[1] * 1000); return; }
      if (current !== this || this.sent) return;
      renewTokens(facts.csrf);
      const moved = facts.revision !== this.revision || (facts.version > this.version && facts.writer !== WRITER);
      if (!moved) { if (this.dirty) this.save(); return; }
      await this.saving;
      if (this.theirs || current !== this) return;
      if (this.dirty) { this.conflict(facts); return; }
      if (facts.revision !== null && this.revision === null) {
        this.panel("info", "You have submitted this text in another tab or on another device.", "", [],
          [["To the next text", () => htmx.ajax("GET", this.form.dataset.nextUrl, { target: "#task" }), true]]);
        return;
      }
      this.settle(facts);
      if (facts.content && !same(this.content(), { ...this.content(), ...facts.content })) {
        this.apply(facts.content, true);
        this.state("taken over from where you typed last");
        say("What you typed in another tab or on another device is shown here now.");
      }
    }

    // facts: what the server has instead (see annotation/drafts.py).
    conflict(facts) {
      if (current !== this) return;
      clearTimeout(this.timer);
      facts.content = { ...this.content(), ...facts.content };
      if (same(facts.content, this.content()) && facts.revision === this.revision) {
        this.version = facts.version; // the same words: nothing to choose
        this.dirty = false;
        store.remove(this.storeKey);
        this.state("draft saved");
        return;
      }
      this.theirs = facts;
      this.keepLocally();
      this.state("not saved: choose between two versions, at the top", true);
      this.showConflict();
      document.getElementById("conflict")?.scrollIntoView({ block: "nearest" });
    }

    showConflictSoon() {
      clearTimeout(this.conflictTimer);
      this.conflictTimer = setTimeout(() => { if (this.theirs) this.showConflict(); }, 300);
    }

    showConflict() {
      const { theirs } = this;
      const finished = theirs.revision !== this.revision;
      const since = theirs.saved_at ? ` on ${timeOf(theirs.saved_at)}` : "";
      const title = theirs.kept_at ? `On this computer there are words of ${timeOf(theirs.kept_at)} that were never saved. They are shown now.`
        : finished ? `You submitted this text${since}, in another tab or on another device, with other words.`
          : `You changed this text${since}, in another tab or on another device.`;
      this.panel("warn", title, "Nothing is lost: choose one; the other can be brought back.",
        this.differences(this.content(), theirs.content), [
          ["Keep what is here", () => this.keepMine(), true],
          [finished ? "Take what was submitted" : theirs.kept_at ? "Take what the server has" : "Take the newer one", () => this.takeTheirs()],
        ]);
    }

    panel(kind, title, text, nodes, actions) {
      let box = document.getElementById("conflict");
      const told = box?.dataset.title === title;
      if (!box) {
        box = document.createElement("section");
        box.id = "conflict";
        this.form.before(box);
      }
      box.className = `note ${kind} stack`;
      box.dataset.title = title;
      if (!told) box.setAttribute("role", kind === "warn" ? "alert" : "status");
      const strong = document.createElement("strong");
      strong.textContent = title;
      const first = document.createElement("p");
      first.append(strong, ` ${text}`);
      const row = document.createElement("p");
      row.className = "row";
      row.append(...actions.map(([label, run, primary]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = label;
        if (primary) button.className = "primary";
        button.addEventListener("click", run);
        return button;
      }));
      const focused = box.contains(document.activeElement) ? [...box.querySelectorAll("button")].indexOf(document.activeElement) : -1;
      box.replaceChildren(first, ...nodes, row);
      if (focused >= 0) box.querySelectorAll("button")[focused]?.focus();
    }

    keepMine() {
      const other = this.theirs;
      this.settle(other);
      this.dirty = true;
      this.save().then(() => this.aside("What was here is kept.", other, other));
    }

    takeTheirs() {
      const mine = { content: this.content() };
      const { theirs } = this;
      this.settle(theirs);
      this.apply(theirs.content, true);
      this.dirty = false;
      store.remove(this.storeKey);
      this.state("draft saved");
      if (theirs.kept_at) this.save();
      this.aside("The other version is shown now.", mine, theirs);
    }

    settle(facts) {
      this.theirs = null;
      this.version = facts.version;
      this.revision = facts.revision ?? null;
      if (this.form.elements.revision) this.form.elements.revision.value = this.revision;
    }

    // The version that was not chosen stays at hand. Where the text was finished elsewhere, its page is opened, so
    // that saving is a change of what was submitted.
    aside(title, other, facts) {
      store.set(`${PREFIX}aside-${this.key}`, JSON.stringify({ content: other.content, at: Date.now() }));
      say(title);
      if (facts.open && !this.form.dataset.revision && !this.dirty) {
        document.getElementById("conflict")?.remove();
        htmx.ajax("GET", facts.open, { target: "#task" });
        return;
      }
      this.showAside(title);
    }

    showAside(title = "There is another version of this text.") {
      const kept = JSON.parse(store.get(`${PREFIX}aside-${this.key}`) ?? "null");
      if (!kept) return;
      this.panel("info", title, "", [], [
        ["Bring the other one back", () => {
          store.set(`${PREFIX}aside-${this.key}`, JSON.stringify({ content: this.content(), at: Date.now() }));
          this.apply({ ...this.content(), ...kept.content }, true);
          this.changed();
          say("The other version is shown now.");
          this.showAside("The other version is shown now.");
        }],
        ["Done", () => { document.getElementById("conflict").remove(); store.remove(`${PREFIX}aside-${this.key}`); document.querySelector("#task [data-focus]")?.focus(); }],
      ]);
    }

    showTwin(open) {
      document.getElementById("twin")?.remove();
      if (!open) return;
      const note = document.createElement("p");
      note.id = "twin";
      note.className = "note";
      note.setAttribute("role", "status");
      note.textContent = "This text is open in another tab too. What you type there appears here when you come back, as long as nothing here is unsaved.";
      this.form.before(note);
    }

    // While the form is on its way, nothing can be typed that would be in neither the old text nor the next one.
    freeze(sent) {
      this.sent = sent;
      for (const field of this.form.querySelectorAll("textarea")) field.readOnly = sent;
    }

    // The form itself. The submit waits for a draft that is on its way, so that an older draft never lands after it.

    listen() {
      this.form.addEventListener("htmx:confirm", (event) => {
        if (event.target !== this.form) return;
        event.preventDefault();
        if (this.theirs) { this.showConflict(); document.querySelector("#conflict button")?.focus(); return; }
        const late = new Promise((resolve) => { setTimeout(resolve, 3000); });
        Promise.race([this.saving, late]).then(() => { if (!this.theirs) event.detail.issueRequest(true); });
      });
      this.form.addEventListener("htmx:configRequest", (event) => {
        if (event.target !== this.form) return;
        clearTimeout(this.timer);
        this.timer = null;
        this.freeze(true);
        this.keepLocally(); // until the server says that it has it
        if (this.versioned) Object.assign(event.detail.parameters, { version: String(this.version), writer: WRITER, sequence: String((sequence += 1)) });
      });
      this.form.addEventListener("htmx:afterRequest", (event) => {
        if (event.target !== this.form) return;
        const { xhr, successful } = event.detail;
        if (successful && !Redress.signedOut(xhr)) {
          store.remove(this.storeKey);
          store.remove(`${PREFIX}aside-${this.key}`);
          tell("saved", this);
          return;
        }
        this.freeze(false);
        if (xhr.status === 409 && this.versioned) { this.conflict(JSON.parse(xhr.responseText)); return; }
        if (xhr.status === 422) return; // the page comes back with what was typed
        this.failures += 1;
        this.state("not submitted; kept on this computer. Submit again when the server answers", true);
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.save(), RETRY[0] * 1000);
      });
    }
  }

  // After signing in again in another tab, this page goes on without being loaded again.
  function renewTokens(token) {
    if (!token) return;
    document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": token }));
    for (const input of document.querySelectorAll("input[name=csrfmiddlewaretoken]")) input.value = token;
  }

  channel?.addEventListener("message", ({ data }) => {
    if (!current || data.key !== current.key || data.tab === WRITER) return;
    if (data.what === "open") { tell("also", current); current.showTwin(true); }
    if (data.what === "also") current.showTwin(true);
    if (data.what === "closed") current.showTwin(false);
    if (data.what === "saved" && !document.hidden) current.check();
  });

  let hiddenAt = null;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hiddenAt = Date.now();
      if (current?.timer) current.save(true);
    } else if (hiddenAt !== null) current?.check();
  });
  window.addEventListener("focus", () => current?.check());
  window.addEventListener("pagehide", () => {
    if (current?.timer) current.save(true);
    if (current) tell("closed", current);
  });
  window.addEventListener("online", () => { if (current?.dirty && !current.theirs) current.save(); });
  // Going elsewhere in the page takes along what was typed last.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target?.id === "task" && event.target !== current?.form && current?.timer) current.save(true);
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "task" || !event.detail.shouldSwap || !current) return;
    tell("closed", current);
    current = null; // until the next one is in place
  });

  for (const key of store.keys().filter((name) => name.startsWith(PREFIX))) {
    let at = 0;
    try { at = JSON.parse(store.get(key)).at; } catch { /* not ours any more */ }
    if (!(Date.now() - at < FORGET)) store.remove(key);
  }

  Redress.Drafts = Drafts;
})();
