// The four charts, drawn by Chart.js. Each has the FFF and the dense series.

const IMPLEMENTATIONS = ["fff", "dense"];
const TITLES = {fff: "FFF", dense: "dense"};

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function series(line) {
  return IMPLEMENTATIONS.map((name) => ({
    label: TITLES[name], data: [], backgroundColor: color(name), borderColor: color(name),
    ...(line ? {borderWidth: 2, pointRadius: 0, pointHitRadius: 8, tension: 0.25, spanGaps: false}
             : {borderRadius: 4, maxBarThickness: 34}),
  }));
}

function makeChart(id, type, {format, logarithmic = false, xTitle = ""}) {
  const axis = {
    ticks: {color: color("ink-2"), maxRotation: 0, autoSkipPadding: 12},
    grid: {color: color("line"), drawBorder: false},
  };
  // Of a logarithmic axis: powers of ten, and 2 and 5 times them where there are few.
  const hasLabel = (value, {min, max}) => {
    const digit = value / 10 ** Math.floor(Math.log10(value) + 1e-9);
    return (max > 100 * min ? [1] : [1, 2, 5]).some((each) => Math.abs(digit - each) < 1e-6);
  };
  return new Chart(document.getElementById(id), {
    type,
    data: {labels: [], datasets: series(type === "line")},
    options: {
      responsive: true, maintainAspectRatio: false, animation: false,
      interaction: {mode: "index", intersect: false},
      plugins: {
        legend: {align: "end", labels: {color: color("ink-2"), boxWidth: 10, boxHeight: 10}},
        tooltip: {callbacks: {label: ({dataset, raw}) => `${dataset.label}: ${format(raw)}`}},
      },
      scales: {
        x: {...axis, grid: {display: false},
            title: {display: xTitle !== "", text: xTitle, color: color("ink-2")}},
        y: {...axis, type: logarithmic ? "logarithmic" : "linear", beginAtZero: !logarithmic,
            ticks: {...axis.ticks,
                    callback(value) { return logarithmic && !hasLabel(value, this) ? null : format(value); }}},
      },
    },
  });
}

function makeCharts() {
  return {
    rate: makeChart("rate-chart", "line", {format: formatNumber}),
    latency: makeChart("latency-chart", "bar", {format: formatSeconds, logarithmic: true}),
    compute: makeChart("compute-chart", "line", {format: formatSeconds, logarithmic: true}),
    batch: makeChart("batch-chart", "bar", {
      format: (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`, xTitle: "rows, at most"}),
  };
}

function setChart(chart, labels, values) {
  chart.data.labels = labels;
  chart.data.datasets.forEach((dataset, i) => { dataset.data = values[i]; });
  chart.update("none");
}

const orNull = (value) => (Number.isFinite(value) && value > 0 ? value : null);

// `steps` are Windows between neighbouring scrapes, `recent` is the last minute.
function drawCharts(charts, steps, recent, wanted) {
  const of = (implementation) => ({...wanted, implementation});
  const clock = steps.map(({to}) => new Date(to.time).toLocaleTimeString());
  setChart(charts.rate, clock, IMPLEMENTATIONS.map((name) =>
    steps.map((step) => Math.max(0, step.rate("fff_requests_total", of(name))))));
  setChart(charts.compute, clock, IMPLEMENTATIONS.map((name) =>
    steps.map((step) => orNull(step.computePerRow(of(name))))));
  setChart(charts.latency, ["p50", "p95", "p99"], IMPLEMENTATIONS.map((name) =>
    [0.5, 0.95, 0.99].map((q) =>
      orNull(recent.quantile(q, "fff_request_duration_seconds", of(name))))));

  const batches = IMPLEMENTATIONS.map((name) => recent.buckets("fff_batch_rows", of(name)));
  const longest = batches[0].length >= batches[1].length ? batches[0] : batches[1];
  const used = longest.map((_, i) => batches.some((of) => of[i] && of[i].count > 0));
  const last = Math.max(used.lastIndexOf(true), 4);
  const shares = batches.map((buckets) => {
    const total = buckets.reduce((sum, {count}) => sum + count, 0);
    return buckets.slice(0, last + 1).map(({count}) => (total > 0 ? count / total : 0));
  });
  setChart(charts.batch, longest.slice(0, last + 1).map(({bound}) =>
    (bound === Infinity ? "more" : formatNumber(bound))), shares);
}
