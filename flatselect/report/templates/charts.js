// Draws every chart from the JSON beside it. Text and grid take the page's colours, and follow it into the dark.
(() => {
  "use strict";
  const PRINTED_PIXELS = 680, NARROW_PIXELS = 640;
  // A finger that drags scrolls the page; a mouse zooms.
  const hasMouse = matchMedia("(pointer: fine)").matches;
  const charts = [...document.querySelectorAll("[data-chart]")].map((holder) => ({
    holder,
    figure: holder.closest("figure"),
    content: JSON.parse(document.getElementById(holder.dataset.chart).textContent),
  }));

  function readColors() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return { text: read("--text"), line: read("--line"), back: read("--back") };
  }

  function makeThemed({ text, line, back }) {
    const axis = (name) => ({ [`${name}.gridcolor`]: line, [`${name}.linecolor`]: line, [`${name}.tickcolor`]: line });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      "font.color": text, "font.family": "system-ui, sans-serif", "font.size": 13,
      "hoverlabel.bgcolor": back, "hoverlabel.font.color": text, "hoverlabel.bordercolor": line,
      "hoverlabel.align": "left",
      ...axis("xaxis"), ...axis("yaxis"),
    };
  }

  function recolor(more) {
    const themed = makeThemed(readColors());
    for (const { holder } of charts) Plotly.relayout(holder, { ...themed, ...more });
  }

  function colorBy({ holder, content }, name) {
    const coloring = content.colorings[name];
    content.data.forEach((trace, index) => {
      const values = coloring && coloring.values[index];
      if (!trace.marker) return;
      Plotly.restyle(holder, {
        "marker.color": values ? [values] : [trace.marker.color],
        "marker.coloraxis": [values ? "coloraxis" : null],
      }, [index]);
    });
    Plotly.relayout(holder, { coloraxis: coloring ? coloring.coloraxis : null });
  }

  for (const chart of charts) {
    const { data, layout } = structuredClone(chart.content);
    Plotly.newPlot(chart.holder, data, { ...layout, dragmode: hasMouse ? "zoom" : false }, {
      responsive: true, displayModeBar: false, displaylogo: false, showTips: false,
    });
    if (innerWidth < NARROW_PIXELS) Plotly.relayout(chart.holder, chart.content.narrow);
    const select = chart.figure.querySelector("select");
    if (select) select.addEventListener("change", () => colorBy(chart, select.value));
  }
  recolor({});
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => recolor({}));
  // Paper is white, and narrower than most windows.
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.print = "";
    recolor({ width: PRINTED_PIXELS });
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.print;
    recolor({ width: null, autosize: true });
  });
  document.documentElement.dataset.drawn = charts.length;
})();
