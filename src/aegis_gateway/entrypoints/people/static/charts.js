// Draws charts from what the page names: by the system's colours, in the page's width, anew when it has changed.
"use strict";

(() => {
  const NANO = 1e9;
  const PICTURE = { width: 1200, height: 620 };
  const drawn = new Map(); // canvas id: {chart, data, tag, kind}

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const usd = (nanos) => {
    const dollars = nanos / NANO;
    const digits = Math.abs(dollars) >= 1 || dollars === 0 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(Math.abs(dollars))));
    return `${dollars < 0 ? "-" : ""}$${Math.abs(dollars).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: digits })}`;
  };
  const short = (value) => {
    const size = Math.abs(value);
    const sign = value < 0 ? "-" : "";
    if (size >= 1e6) return `${sign}$${+(size / 1e6).toFixed(2)}M`;
    if (size >= 1e4) return `${sign}$${+(size / 1e3).toFixed(1)}k`;
    const isCents = size >= 0.01 && !Number.isInteger(size);
    return `${sign}$${isCents ? size.toFixed(2) : +size.toPrecision(3)}`;
  };

  const frame = (width) => ({
    animation: false,
    textStyle: { color: color("dim"), fontFamily: getComputedStyle(document.body).fontFamily },
    grid: { left: 4, right: 12, top: 30, bottom: 4, containLabel: true },
    // On the canvas: text that is put into the page with styles of its own is not for pages like these.
    tooltip: {
      trigger: "axis", renderMode: "richText", confine: true, transitionDuration: 0,
      backgroundColor: color("sheet"), borderColor: color("strong-line"), borderWidth: 1,
      textStyle: { color: color("ink"), fontSize: 13, lineHeight: 19 },
      axisPointer: { type: "line", lineStyle: { color: color("strong-line") } },
    },
    aria: { enabled: false, decal: { show: matchMedia("(prefers-contrast: more)").matches } },
    narrow: width < 480,
  });
  const axis = () => ({
    axisLine: { lineStyle: { color: color("strong-line") } },
    axisTick: { show: false },
    axisLabel: { color: color("dim"), fontSize: 12, hideOverlap: true },
    splitLine: { lineStyle: { color: color("line") } },
    nameTextStyle: { color: color("dim"), fontSize: 12, align: "left" },
  });

  const kinds = {
    spending(data, width) {
      const { narrow, ...base } = frame(width);
      // Hours and days are sums, so each has its bar; of a quarter's days the shape is what is looked for.
      const isArea = data.labels.length > 45;
      const series = data.series.map((each) => ({
        name: each.name,
        type: isArea ? "line" : "bar",
        stack: "spent",
        data: each.nano_usd.map((nanos) => (nanos || isArea ? nanos / NANO : null)),
        color: color(`s${each.color}`),
        symbol: "none",
        lineStyle: { width: 0 },
        barMaxWidth: 48,
        ...(isArea ? { areaStyle: { opacity: 0.9 } } : { itemStyle: { borderColor: color("sheet"), borderWidth: 0.5 } }),
      }));
      return {
        ...base,
        tooltip: {
          ...base.tooltip,
          axisPointer: isArea ? base.tooltip.axisPointer : { type: "shadow", shadowStyle: { color: color("line"), opacity: 0.5 } },
          formatter: (points) => {
            const place = points[0].dataIndex;
            const told = data.series.map((each) => [each.name, each.nano_usd[place]]).filter(([, nanos]) => nanos);
            const total = told.reduce((sum, [, nanos]) => sum + nanos, 0);
            return [data.words[place], ...told.map(([name, nanos]) => `${name}   ${usd(nanos)}`), `all   ${usd(total)}`].join("\n");
          },
        },
        xAxis: { ...axis(), type: "category", data: data.labels, boundaryGap: !isArea },
        yAxis: { ...axis(), type: "value", name: `US dollars per ${data.each}`, splitNumber: narrow ? 3 : 4, axisLabel: { ...axis().axisLabel, formatter: short } },
        series,
      };
    },

    burn(data, width) {
      const { narrow, ...base } = frame(width);
      const scaled = (amount) => (amount === null ? null : amount / data.scale);
      const write = (amount) => (data.is_money ? usd(amount) : `${(amount / data.scale).toLocaleString("en-US")} ${data.unit}`);
      const points = (name) => data.points.filter((each) => each[name] !== null).map((each) => [each.wall_ms, scaled(each[name])]);
      const line = (name, key, style, more = {}) => ({
        name, type: "line", data: points(key), symbol: "none", lineStyle: style, color: style.color, z: 4, ...more,
      });
      const length = data.points.at(-1).wall_ms - data.points[0].wall_ms;
      const isNow = data.exhausted_ms !== null && Math.abs(data.exhausted_ms - data.now_ms) < length / (narrow ? 4 : 10);
      const marks = [{ xAxis: data.now_ms, label: { formatter: isNow ? "" : "now" } }];
      if (data.exhausted_ms !== null) {
        const style = { color: color("deny"), type: "solid", width: 1.5 };
        marks.push({ xAxis: data.exhausted_ms, lineStyle: style, label: { formatter: "nothing left", color: color("deny") } });
      }
      const band = data.low === null ? [] : [
        { name: "low", type: "line", stack: "band", data: data.band.map((each) => [each.wall_ms, scaled(each.low)]), symbol: "none", lineStyle: { width: 0 }, silent: true, color: color("s1"), stackStrategy: "all" },
        { name: "band", type: "line", stack: "band", data: data.band.map((each) => [each.wall_ms, scaled(each.high - each.low)]), symbol: "none", lineStyle: { width: 0 }, silent: true, color: color("s1"), areaStyle: { color: color("s1"), opacity: 0.16 }, stackStrategy: "all" },
      ];
      return {
        ...base,
        useUTC: true,
        tooltip: {
          ...base.tooltip,
          formatter: (found) => {
            const at = found[0].axisValue;
            const nearest = data.points.reduce((one, other) => (Math.abs(other.wall_ms - at) < Math.abs(one.wall_ms - at) ? other : one));
            const told = [["left", nearest.actual], ["expected", nearest.expected], ["ideal", nearest.ideal]];
            return [nearest.words, ...told.filter(([, amount]) => amount !== null).map(([name, amount]) => `${name}   ${write(amount)}`)].join("\n");
          },
        },
        xAxis: { ...axis(), type: "time", min: data.points[0].wall_ms, max: data.points.at(-1).wall_ms, splitNumber: narrow ? 3 : 6, splitLine: { show: false } },
        yAxis: {
          ...axis(), type: "value", name: data.is_money ? "US dollars left" : `${data.unit} left`, splitNumber: narrow ? 3 : 4,
          ...(data.bounded ? { min: 0 } : {}),
          axisLabel: { ...axis().axisLabel, ...(data.is_money ? { formatter: short } : {}) },
        },
        series: [
          ...band,
          line("ideal", "ideal", { color: color("dim"), type: "dotted", width: 1.5 }),
          line("expected", "expected", { color: color("s1"), type: "dashed", width: 2 }),
          line("left", "actual", { color: color("s1"), type: "solid", width: 2.5 }, {
            step: "end",
            markLine: { silent: true, symbol: "none", data: marks, lineStyle: { color: color("strong-line"), type: "solid" }, label: { color: color("dim"), position: "insideEndTop", rotate: 0, distance: 4, align: "center" } },
          }),
        ],
      };
    },
  };

  const after = {}; // what is done with a chart once it is drawn, by its kind

  const draw = (canvas, entry) => {
    entry.chart?.dispose();
    entry.chart = echarts.init(canvas, null, { renderer: "canvas" });
    entry.chart.setOption(kinds[entry.kind](entry.data, canvas.clientWidth));
    after[entry.kind]?.(entry.chart);
    canvas.dataset.drawn = entry.tag;
  };

  // A chart as a picture that stands by itself: of one width everywhere, with its title, what is said of it, and names for
  // its colours.
  const picture = (canvas, entry) => {
    const figure = canvas.closest("figure");
    const sheet = figure.closest("section") ?? figure;
    const words = (element) => (element?.innerText ?? "").replace(/\s+/g, " ").trim();
    const option = kinds[entry.kind](entry.data, PICTURE.width);
    const named = option.series.filter((each) => each.stack !== "band" && ["bar", "line"].includes(each.type));
    const ink = { color: color("ink"), fontSize: 20, fontWeight: 600 };
    const dim = { color: color("dim"), fontSize: 14, lineHeight: 19, width: PICTURE.width - 60, overflow: "break" };
    option.title = {
      text: [document.querySelector("h1"), sheet.querySelector("h2")].map(words).filter(Boolean).join(" · "),
      subtext: [sheet.querySelector(".row > p.dim"), document.getElementById(figure.getAttribute("aria-labelledby"))].map(words).filter(Boolean).join("\n"),
      left: 20, top: 16, itemGap: 8, textStyle: ink, subtextStyle: dim,
    };
    if (named.length > 1) option.legend = { data: named.map((each) => each.name), left: 20, bottom: 14, textStyle: { color: color("dim"), fontSize: 13 }, itemWidth: 26, itemHeight: named.some((each) => each.type === "bar" || each.areaStyle) ? 10 : 0 };
    if (option.grid) option.grid = { ...option.grid, left: 24, right: 36, top: 132, bottom: 52 };
    const chart = echarts.init(document.createElement("div"), null, { renderer: "canvas", ...PICTURE });
    chart.setOption(option);
    const address = chart.getDataURL({ pixelRatio: 2, backgroundColor: color("sheet") });
    chart.dispose();
    return address;
  };
  // While its numbers change all the time, a chart is drawn anew every few seconds; the table beside it is what is exact.
  const AGAIN_MS = 5000;

  const show = async (figure) => {
    const canvas = figure.querySelector(".canvas");
    const { chart: kind, src, tag } = figure.dataset;
    if (!kinds[kind]) return; // its script is yet to come, and shows it then
    figure.hidden = false;
    let entry = drawn.get(canvas.id);
    const wait = entry && entry.src === src && entry.tag !== tag ? entry.at + AGAIN_MS - Date.now() : 0;
    if (wait > 0) {
      if (!canvas.firstChild) draw(canvas, entry);
      entry.waits ||= setTimeout(showAll, wait);
      return;
    }
    if (!entry || entry.tag !== tag || entry.src !== src) {
      if (entry && !canvas.firstChild) draw(canvas, entry); // what was there, until what is comes
      const answer = await fetch(src, { headers: { accept: "application/json" } });
      if (!answer.ok) {
        figure.hidden = !entry;
        return;
      }
      entry = { kind, src, tag, data: await answer.json(), chart: entry?.chart, at: Date.now(), waits: 0 };
      drawn.set(canvas.id, entry);
    } else if (entry.chart?.getDom() === canvas && canvas.firstChild) {
      return; // still there, and still right
    }
    if (canvas.isConnected) draw(canvas, entry);
    for (const button of document.querySelectorAll(`[data-png="${canvas.id}"]`)) button.hidden = false;
  };

  const showAll = () => document.querySelectorAll("[data-chart]").forEach(show);
  const redraw = () => {
    for (const [id, entry] of drawn) {
      const canvas = document.getElementById(id);
      if (canvas) draw(canvas, entry);
    }
  };

  document.addEventListener("DOMContentLoaded", showAll);
  document.addEventListener("htmx:after:swap", showAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) redraw();
    width = innerWidth;
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-png]");
    const entry = button && drawn.get(button.dataset.png);
    const canvas = entry && document.getElementById(button.dataset.png);
    if (!canvas) return;
    const link = document.createElement("a");
    link.href = picture(canvas, entry);
    link.download = `${button.dataset.png.replace("-canvas", "")}.png`;
    link.click();
  });
  window.aegisCharts = { NANO, kinds, after, color, usd, short, frame, axis, show: () => document.readyState !== "loading" && showAll() };
})();
