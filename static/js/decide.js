// Deciding about texts in the queue: only what the decision needs is shown, and all rows can be chosen at once.
(() => {
  "use strict";
  for (const form of document.querySelectorAll("form[data-decide]")) {
    const decision = form.querySelector("[name=decision]");
    const show = () => {
      for (const part of form.querySelectorAll("[data-for]")) {
        part.hidden = !part.dataset.for.split(" ").includes(decision.value);
      }
    };
    decision?.addEventListener("change", show);
    if (decision) show();

    const all = form.querySelector("[data-all]");
    if (!all) continue;
    const boxes = [...form.querySelectorAll("[name=items]")];
    const count = () => {
      const chosen = boxes.filter((box) => box.checked).length;
      form.querySelector("[data-count]").textContent = `(${chosen})`;
      all.checked = chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    };
    all.hidden = false;
    all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; count(); });
    form.addEventListener("change", (event) => {
      if (event.target.name !== "items") return;
      form.querySelector("[name=which][value=chosen]").checked = true;
      count();
    });
    count();
  }
})();
