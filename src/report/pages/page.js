// Optional controls: without scripts the page shows all its content.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Open all details while printing.
addEventListener("beforeprint", () => all("details:not([open])").forEach(d => { d.open = d.dataset.printed = true; }));
addEventListener("afterprint", () => all("[data-printed]").forEach(d => { d.open = false; delete d.dataset.printed; }));

// Copy buttons for commands.
all(".command").forEach(box => {
  const button = box.querySelector("button"), code = box.querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy command"; }, 1500);
  });
});

// An open claim shows its figures; the images are reused, not embedded twice.
all("details").forEach(details => details.addEventListener("toggle", () => {
  if (!details.open || details.dataset.printed) return;
  all(".shown-by:empty", details).forEach(box => box.dataset.figures.split(" ").forEach(id => {
    const image = document.getElementById(id)?.querySelector("img");
    if (!image) return;
    const link = document.createElement("a");
    link.href = "#" + id;
    link.append(Object.assign(new Image(), { src: image.src, alt: id + ". " + image.alt }));
    box.append(link);
  }));
}));

// Filter claims by verdict and text, and sort them.
const table = document.querySelector("table.claims"), tools = document.querySelector(".tools");
if (table && tools) {
  const claims = all(":scope > tbody", table), shown = document.getElementById("shown");
  const worst = ["contradicted", "inconclusive", "not run", "reproduced"];
  const orders = {
    paper: () => 0,
    verdict: (a, b) => worst.indexOf(a.dataset.verdict) - worst.indexOf(b.dataset.verdict),
    converged: (a, b) => (a.dataset.converged || 2) - (b.dataset.converged || 2),
    moved: (a, b) => b.dataset.moved - a.dataset.moved,
    networks: (a, b) => b.dataset.networks - a.dataset.networks,
  };
  const text = new Map(claims.map(claim => [claim, claim.textContent.toLowerCase()]));
  const apply = () => {
    const words = tools.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = all("[name=verdict]:checked", tools).map(box => box.value);
    claims.forEach(claim => {
      claim.hidden = !verdicts.includes(claim.dataset.verdict) || !words.every(word => text.get(claim).includes(word));
    });
    table.append(...[...claims].sort(orders[tools.elements.order.value]));
    shown.textContent = claims.filter(claim => !claim.hidden).length + " of " + claims.length + " claims shown";
  };
  tools.hidden = false;
  tools.addEventListener("input", apply);
  tools.addEventListener("submit", event => event.preventDefault());
  tools.addEventListener("reset", () => setTimeout(apply));
  tools.elements.unfold?.addEventListener("click", () => {
    const folded = all(".statement > td > details", table).filter(d => !d.closest("[hidden]"));
    const open = folded.some(d => !d.open);
    folded.forEach(d => { d.open = open; });
  });
  apply();
}

// Open a claim that is the target of a link.
const unfold = () => {
  const claim = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!claim?.matches("table.claims > tbody")) return;
  if (claim.hidden) tools?.reset();
  const details = claim.querySelector("details");
  if (details) details.open = true;
  claim.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
