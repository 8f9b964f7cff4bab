// A model's suggestion on the annotator's page: a key takes the labels, the rewrite or the marks over. Everything
// goes through the task, so that it is undone, drafted and submitted like what people do by hand.
(() => {
  "use strict";

  const { keys, say } = Redress;
  const SECTION = "Suggestions";
  const $ = (id) => document.getElementById(id);
  let task = null;

  // Levels that the annotator chose already stay: a human's decision counts more than a proposal.
  function takeLabels() {
    if (!$("accept-labels")) return;
    const suggested = JSON.parse($("suggestion").dataset.labels);
    const chosen = task.content().labels;
    const open = Object.entries(suggested).filter(([key]) => !(key in chosen));
    if (!open.length) { say("You have chosen a level everywhere already."); return; }
    task.setLabels({ ...chosen, ...Object.fromEntries(open) });
    say(`${open.length} suggested label${open.length === 1 ? "" : "s"} taken. Undo takes them back.`);
  }

  function useRewrite() {
    if (!$("use-rewrite")) return;
    task.setRewrite($("suggested-rewrite").dataset.rewrite);
    say("The suggested rewrite is taken. Undo brings back what was written before.");
  }

  function useMarks() {
    if (!$("use-marks")) return;
    const suggested = JSON.parse($("suggestion").dataset.spans);
    const own = task.content().spans;
    const apart = suggested.filter((s) => own.every((o) => s.end <= o.start || o.end <= s.start));
    task.setSpans([...own, ...apart].sort((a, b) => a.start - b.start));
    say("The suggested words are marked. Undo takes the marks back.");
  }

  const actions = { "accept-labels": takeLabels, "use-rewrite": useRewrite, "use-marks": useMarks };
  let explained = false;

  // The keys are on the sheet only where there is something they could do.
  function explain() {
    if (explained) return;
    explained = true;
    keys.add(
      { section: SECTION, keys: ["a"], help: "take the suggested labels where you have chosen none", run: takeLabels },
      { section: SECTION, keys: ["r"], help: "use the suggested rewrite; it can be changed afterwards", run: useRewrite },
      { section: SECTION, keys: ["w"], help: "mark the suggested words", run: useMarks },
    );
  }

  document.addEventListener("redress:task", (event) => {
    task = event.detail;
    if (!task || !$("suggestion")) return;
    explain();
    for (const id of Object.keys(actions)) if ($(id)) $(id).hidden = false;
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#suggestion button");
    if (button && task) actions[button.id]?.();
  });
})();
