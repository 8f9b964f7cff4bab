// What every page needs: say when the server is away, ask before what cannot be undone, and let the keyboard scroll what
// is wider or longer than its place.
(() => {
  "use strict";
  const Redress = (window.Redress ??= {});
  // A request that was sent on to the sign-in page: its answer must not replace what people typed.
  Redress.signedOut = (xhr) => Boolean(xhr.responseURL) && new URL(xhr.responseURL).pathname === document.body.dataset.login;
  // A refusal in words of the server's own, for example that a reviewer's link has expired.
  Redress.refusal = (type, status) => status === 403 && (type ?? "").startsWith("text/plain");
  const banner = () => document.getElementById("connection");
  const show = (text) => { const b = banner(); if (b) { if (text) b.textContent = text; b.hidden = false; } };
  document.addEventListener("htmx:sendError", () => show());
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!Redress.signedOut(event.detail.xhr)) return;
    event.detail.shouldSwap = false;
    show("You are signed out. What you typed is kept on this computer: sign in again in another tab, then go on here.");
  });
  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (status === 409) return; // the page shows what is in the way
    const { xhr } = event.detail;
    if (Redress.refusal(xhr.getResponseHeader("Content-Type"), status)) { show(xhr.responseText); return; }
    show(status === 403 ? "You may not do this, or you were signed out. Reload the page."
      : status === 404 ? "This is no longer there. Reload the page."
      : `The server answered with an error (${status}). Nothing you typed is lost; try again in a moment.`);
  });
  document.addEventListener("htmx:afterSwap", () => { const b = banner(); if (b) b.hidden = true; });
  document.addEventListener("focusin", (event) => { if (event.target.matches("[data-select]")) event.target.select(); });
  // Copying needs a secure page; without it the button stays hidden, and the field selects itself.
  document.addEventListener("DOMContentLoaded", () => {
    if (navigator.clipboard) for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    button.firstChild.textContent = "Copied";
  });
  function reachScrollers() {
    for (const box of document.querySelectorAll(".scroll, pre, .errorlist")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      if (scrolls === box.hasAttribute("data-scrolls") || (scrolls && box.hasAttribute("tabindex"))) continue;
      box.toggleAttribute("data-scrolls", scrolls);
      if (scrolls) box.setAttribute("tabindex", "0"); else box.removeAttribute("tabindex");
      if (box.matches("div")) {
        const title = box.closest("section, article, figure")?.querySelector("h2, h3, figcaption")?.textContent.trim();
        if (scrolls) { box.setAttribute("role", "group"); box.setAttribute("aria-label", `${title ?? "Table"}, can be scrolled`); }
        else { box.removeAttribute("role"); box.removeAttribute("aria-label"); }
      }
    }
  }
  Redress.reachScrollers = reachScrollers;
  for (const name of ["DOMContentLoaded", "htmx:afterSettle"]) document.addEventListener(name, reachScrollers);
  window.addEventListener("resize", reachScrollers);
  window.addEventListener("load", reachScrollers);
  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm || event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  }, true);
})();
