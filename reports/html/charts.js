// Replaces each static chart by a live one. No eval: `ast` makes Vega-Embed interpret expressions from their syntax
// tree, so that the content security policy can forbid code from strings. A chart that fails
// keeps its static picture.
for (const block of document.querySelectorAll("script[data-chart]")) {
  const figure = document.getElementById(block.dataset.chart);
  const live = figure.querySelector(".live");
  figure.classList.add("is-live");
  vegaEmbed(live, JSON.parse(block.textContent), {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    ast: true,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  })
    .then(() => {
      const drawing = live.querySelector("svg");
      drawing.setAttribute("aria-hidden", "true");
      drawing.setAttribute("focusable", "false");
    })
    .catch((error) => {
      figure.classList.remove("is-live");
      live.replaceChildren();
      console.error(error);
    });
}
