"use strict";
(() => {
  const all = (selector, within) => [...(within || document).querySelectorAll(selector)];

  // The drawing: what is pointed at is told below it; the arrow keys go from one to the next.
  for (const drawing of all("[data-timeline]")) {
    const panel = drawing.querySelector(".facts-panel");
    const shapes = all("a[data-facts]", drawing);
    let now = null;
    const show = (shape) => {
      if (shape === now) return;
      if (now) now.classList.remove("now");
      now = shape;
      shape.classList.add("now");
      panel.replaceChildren(document.getElementById(shape.dataset.facts).cloneNode(true));
      panel.firstChild.removeAttribute("id");
      panel.classList.add("told");
      panel.scrollTop = 0;
    };
    const uncover = (shape) => {
      const under = shape.getBoundingClientRect().bottom - panel.getBoundingClientRect().top;
      if (under > 0 && panel.getBoundingClientRect().bottom > innerHeight - 20) scrollBy(0, under + 12);
    };
    panel.hidden = false;
    shapes.forEach((shape, at) => {
      shape.querySelector("title").remove();
      shape.setAttribute("aria-describedby", shape.dataset.facts);
      shape.setAttribute("tabindex", at ? "-1" : "0");
      shape.addEventListener("pointerenter", (event) => {
        if (event.pointerType !== "touch") show(shape);
      });
      shape.addEventListener("focus", () => {
        shapes.forEach((other) => other.setAttribute("tabindex", other === shape ? "0" : "-1"));
        show(shape);
        uncover(shape);
      });
      // The first tap tells, the second goes there.
      let told = false;
      shape.addEventListener("pointerdown", (event) => {
        told = event.pointerType === "mouse" || shape === now;
      });
      shape.addEventListener("click", (event) => {
        if (event.detail && !told) event.preventDefault();
        show(shape);
      });
      shape.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step || !shapes[at + step]) return;
        event.preventDefault();
        shapes[at + step].focus();
      });
    });
  }

  // A link to a migration opens it.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details");
    if (!folded) return;
    folded.open = true;
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  };
  addEventListener("hashchange", reveal);
  reveal();

  for (const tools of all(".tools")) {
    tools.hidden = false;
    for (const button of all("button", tools)) {
      button.addEventListener("click", () => {
        for (const each of all("details.migration")) each.open = Boolean(button.dataset.open);
      });
    }
  }

  for (const box of all(".copy")) {
    const code = box.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    const say = (text) => { button.textContent = text; };
    say("Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        say("Copied");
      } catch {
        getSelection().selectAllChildren(code);
        say("Selected");
      }
      setTimeout(() => say("Copy"), 2000);
    });
    box.append(button);
  }
})();
