// The overview's further charts: the largest, shares as areas, a quarter's days. Drawn by charts.js.
"use strict";

(() => {
  const { color, usd, short, frame, axis, NANO } = aegisCharts;

  // Words on a coloured ground are dark or light, whichever can be read on it.
  const ink = (ground) => {
    const [red, green, blue] = ground.match(/[0-9a-f]{2}/gi).map((each) => parseInt(each, 16) / 255).map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#10161d" : "#ffffff";
  };
  // As the table has it: rounded down, and never nothing of what there is.
  const share = (part, whole) => {
    if (!(whole > 0)) return "";
    const percent = Math.floor((100 * part) / whole);
    return percent || !part ? `${percent} %` : "<1 %";
  };
  const go = (node) => {
    if (node?.address) location.assign(node.address);
  };

  aegisCharts.kinds.top = (data, width) => {
    const { narrow, ...base } = frame(width);
    const rows = data.rows.slice().reverse();
    return {
      ...base,
      grid: { ...base.grid, top: 4, right: narrow ? 12 : 24 },
      tooltip: {
        ...base.tooltip, trigger: "item",
        formatter: ({ dataIndex }) => {
          const row = rows[dataIndex];
          return `${row.name}\n${usd(row.nano_usd)}   ${share(row.nano_usd, data.total)}`;
        },
      },
      xAxis: { ...axis(), type: "value", name: "", splitNumber: narrow ? 2 : 5, axisLabel: { ...axis().axisLabel, formatter: short } },
      yAxis: {
        ...axis(), type: "category", data: rows.map((each) => each.name),
        axisLabel: { ...axis().axisLabel, width: narrow ? 96 : 190, overflow: "truncate", hideOverlap: false, interval: 0 },
      },
      series: [{
        type: "bar", barMaxWidth: 22, cursor: "pointer",
        data: rows.map((each) => ({ value: each.nano_usd / NANO, address: each.address, itemStyle: { color: color(`s${each.color}`) } })),
        label: { show: !narrow, position: "right", color: color("dim"), fontSize: 12, formatter: ({ dataIndex }) => share(rows[dataIndex].nano_usd, data.total) },
      }],
    };
  };

  aegisCharts.kinds.shares = (data, width) => {
    const { narrow, ...base } = frame(width);
    const node = (each, ground) => ({
      name: each.name, value: each.nano_usd / NANO, nanos: each.nano_usd, address: each.address,
      itemStyle: { color: ground }, label: { color: ink(ground) },
    });
    const tree = data.tree.map((each) => {
      const ground = color(`s${each.color}`);
      return { ...node(each, ground), children: each.children.length ? each.children.map((one) => node(one, ground)) : undefined };
    });
    return {
      ...base,
      tooltip: {
        ...base.tooltip, trigger: "item",
        formatter: ({ data: found, treePathInfo }) => `${treePathInfo.slice(1).map((each) => each.name).join(" › ")}\n${usd(found.nanos ?? data.total)}   ${share(found.nanos ?? 0, data.total)}`,
      },
      series: [{
        type: "treemap", roam: false, nodeClick: false, breadcrumb: { show: false }, animation: false, cursor: "pointer",
        left: 0, right: 0, top: 0, bottom: 0,
        label: { fontSize: 12, lineHeight: 17, overflow: "truncate", formatter: ({ name, data: found }) => (narrow ? name : `${name}\n${usd(found.nanos)}`) },
        upperLabel: { show: true, height: 22, fontSize: 12, fontWeight: 600, color: color("ink"), overflow: "truncate", formatter: "{b}" },
        itemStyle: { borderColor: color("sheet"), borderWidth: 1, gapWidth: 1 },
        levels: [{ upperLabel: { show: false }, itemStyle: { borderWidth: 0, gapWidth: 3 } }, { itemStyle: { gapWidth: 1, borderWidth: 2 } }, {}],
        data: tree,
      }],
    };
  };

  aegisCharts.kinds.calendar = (data, width) => {
    const { narrow, ...base } = frame(width);
    const most = Math.max(...data.days.map((each) => each.nano_usd), 1);
    return {
      ...base,
      tooltip: { ...base.tooltip, trigger: "item", formatter: ({ dataIndex }) => `${data.days[dataIndex].words}\n${usd(data.days[dataIndex].nano_usd)}` },
      visualMap: {
        type: "continuous", min: 0, max: most / NANO, calculable: false, orient: "horizontal", left: "center", bottom: 0, itemHeight: narrow ? 90 : 160, itemWidth: 12,
        inRange: { color: [color("line"), color("s1")] }, text: [short(most / NANO), "$0"], textStyle: { color: color("dim") }, precision: 2,
      },
      calendar: {
        range: [data.days[0].day, data.days.at(-1).day], left: narrow ? 30 : 60, right: narrow ? 4 : 20, top: 26, bottom: 44,
        cellSize: ["auto", "auto"], orient: "horizontal", firstDay: 1,
        itemStyle: { color: color("ground"), borderColor: color("sheet"), borderWidth: 2 },
        splitLine: { lineStyle: { color: color("strong-line"), width: 1 } },
        dayLabel: { firstDay: 1, color: color("dim"), fontSize: 11, nameMap: ["Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"] },
        monthLabel: { color: color("dim"), fontSize: 12 }, yearLabel: { show: false },
      },
      series: [{
        type: "heatmap", coordinateSystem: "calendar", cursor: "pointer",
        data: data.days.map((each) => ({ value: [each.day, each.nano_usd / NANO], address: each.address })),
      }],
    };
  };

  for (const kind of ["top", "shares", "calendar"]) {
    aegisCharts.after[kind] = (chart) => chart.on("click", ({ data: found }) => go(found));
  }
  aegisCharts.show();
})();
