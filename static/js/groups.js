// Target groups: chips, and a text field that offers the groups that this project's annotators have named so far. The
// field is an editable combobox with a list (ARIA 1.2); any other name can be typed too.
(() => {
  "use strict";

  const { say } = Redress;
  const DELAY = 150; // ms after the last key
  const found = new Map(); // query -> names, until the page is loaded again

  class Groups {
    // entry: the text field, or null where nothing can change; its list and its data-url belong to it. chips: where
    // the chosen names are. change(names): called with the new names after a choice.
    constructor({ entry, chips, names, change }) {
      Object.assign(this, { entry, chips, change });
      this.list = entry && document.getElementById(entry.getAttribute("aria-controls"));
      this.active = -1;
      this.set(names);
      if (!entry) return;
      entry.addEventListener("input", () => this.suggestSoon());
      entry.addEventListener("focus", () => this.suggestSoon());
      entry.addEventListener("blur", () => { this.add(entry.value); this.close(); });
      entry.addEventListener("keydown", (event) => this.key(event));
      this.list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
      this.list.addEventListener("click", (event) => {
        const option = event.target.closest("[role=option]");
        if (option) { this.add(option.dataset.name); entry.focus(); this.suggestSoon(); }
      });
    }

    set(names) {
      this.names = [...names];
      this.chips.replaceChildren(...this.names.map((name) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = "badge live";
        chip.disabled = !this.entry;
        const label = document.createElement("bdi");
        label.textContent = name;
        chip.append(label, this.entry ? " ×" : "");
        if (this.entry) chip.setAttribute("aria-label", `Remove the group ${name}`);
        chip.addEventListener("click", () => {
          this.change(this.names.filter((other) => other !== name));
          say(`Group removed: ${name}`);
          this.entry.focus();
        });
        return chip;
      }));
    }

    add(typed) {
      const name = typed.trim().replace(/,$/, "").trim();
      this.entry.value = "";
      this.close();
      if (!name || this.names.includes(name)) return;
      this.change([...this.names, name]);
      say(`Group added: ${name}`);
    }

    // Suggestions

    suggestSoon() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.suggest(), DELAY);
    }

    async suggest() {
      const query = this.entry.value.trim().toLowerCase();
      if (!found.has(query)) {
        try {
          const address = `${this.entry.dataset.url}?${new URLSearchParams({ q: query })}`;
          const answer = await fetch(address, { credentials: "same-origin", headers: { Accept: "application/json" } });
          if (!answer.ok) return;
          found.set(query, (await answer.json()).map((group) => group.name));
        } catch { return; } // typing a name still works
      }
      if (document.activeElement !== this.entry || this.entry.value.trim().toLowerCase() !== query) return;
      this.show(found.get(query).filter((name) => !this.names.includes(name)).slice(0, 8));
    }

    show(names) {
      this.active = -1;
      this.list.replaceChildren(...names.map((name, i) => {
        const option = document.createElement("li");
        option.id = `group-option-${i}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.name = name;
        option.dir = "auto";
        option.textContent = name;
        return option;
      }));
      this.list.hidden = !names.length;
      this.entry.setAttribute("aria-expanded", String(names.length > 0));
      this.entry.removeAttribute("aria-activedescendant");
      if (names.length && this.entry.value) say(`${names.length} group${names.length === 1 ? "" : "s"} to choose from`);
    }

    close() {
      clearTimeout(this.timer);
      this.show([]);
    }

    move(step) {
      const options = [...this.list.children];
      if (!options.length) { this.suggest(); return; }
      // Between the last and the first one there is the text field itself.
      this.active = ((this.active + 1 + step + options.length + 1) % (options.length + 1)) - 1;
      options.forEach((option, i) => option.setAttribute("aria-selected", String(i === this.active)));
      const option = options[this.active];
      if (option) {
        this.entry.setAttribute("aria-activedescendant", option.id);
        option.scrollIntoView({ block: "nearest" });
      } else this.entry.removeAttribute("aria-activedescendant");
    }

    key(event) {
      const open = !this.list.hidden;
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") this.move(event.key === "ArrowDown" ? 1 : -1);
      else if (event.key === "Enter" || event.key === ",") this.add(this.list.children[this.active]?.dataset.name ?? this.entry.value);
      else if (event.key === "Escape" && open) this.close();
      else if (event.key === "Escape" && this.entry.value) { this.entry.value = ""; say("Entry cleared"); }
      else if (event.key === "Backspace" && !this.entry.value && this.names.length) {
        say(`Group removed: ${this.names.at(-1)}`);
        this.change(this.names.slice(0, -1));
      } else return;
      event.preventDefault();
    }
  }

  Redress.Groups = Groups;
})();
