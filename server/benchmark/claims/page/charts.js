// The charts of a claims report, drawn by Chart.js.

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Three significant digits: "1.27", "75.3", "1240".
function formatNumber(value) {
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return value.toFixed(digits);
}

const formatTimes = (value) => `${formatNumber(value)}x`;

function formatSeconds(seconds) {
  for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]]) {
    if (seconds >= 0.9995 * size) return `${formatNumber(seconds / size)} ${unit}`;
  }
  return `${formatNumber(seconds * 1e9)} ns`;
}

function axis(more) {
  return {
    grid: {color: color("line"), drawBorder: false},
    ...more,
    ticks: {color: color("ink-2"), maxRotation: 0, autoSkipPadding: 12, ...(more.ticks || {})},
    title: {display: Boolean(more.text), text: more.text || "", color: color("ink-2")},
  };
}

const isDecade = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6;

function logarithmic(format, text) {
  return axis({type: "logarithmic", text,
               ticks: {callback: (value) => (isDecade(value) ? format(value) : null)}});
}

function options(scales, label) {
  return {
    responsive: true, maintainAspectRatio: false, animation: false,
    plugins: {
      legend: {align: "end", labels: {color: color("ink-2"), usePointStyle: true}},
      tooltip: {callbacks: {label}},
    },
    scales,
  };
}

// A line per claim: the published figure, and a bar from our least to our most.
function drawSpeedups(canvas, claims) {
  const of = ({points}) => points.filter(({judged}) => judged).map(({speedup}) => speedup);
  const measured = claims.filter((claim) => of(claim).length > 0);
  const ours = measured.map((claim) => {
    const [low, high] = [Math.min(...of(claim)), Math.max(...of(claim))];
    return high / low > 1.04 ? [low, high] : [low / 1.02, low * 1.02];
  });
  canvas.parentElement.style.height = `${90 + 22 * measured.length}px`;
  const data = {
    labels: measured.map(({id}) => id),
    datasets: [
      {type: "line", label: "published", data: measured.map(({published}) => published),
       showLine: false, pointStyle: "rectRot", pointRadius: 6, borderWidth: 2,
       borderColor: color("dense"), backgroundColor: color("page")},
      {type: "bar", label: "ours", data: ours, pointStyle: "rect", minBarLength: 5,
       borderRadius: 4, borderSkipped: false, backgroundColor: color("fff"), maxBarThickness: 10},
    ],
  };
  const label = ({dataset, raw, dataIndex}) => (dataset.label === "published"
    ? `published ${formatTimes(raw)}`
    : `ours ${of(measured[dataIndex]).map(formatTimes).join(", ")}`);
  const chart = options({x: logarithmic(formatTimes, "times as fast as dense"),
                         y: axis({ticks: {autoSkip: false}, grid: {display: false}})}, label);
  return new Chart(canvas, {data, options: {...chart, indexAxis: "y"}});
}

// Times of FFF, dense and the bound over one quantity, both axes logarithmic.
function drawTimes(canvas, points, xOf, text) {
  const sorted = [...points].sort((a, b) => xOf(a) - xOf(b));
  const line = (label, key, name, more) => ({
    label, data: sorted.map((point) => ({x: xOf(point), y: point[key]})),
    borderColor: color(name), backgroundColor: color(name), borderWidth: 2, ...more,
  });
  const datasets = [line("FFF", "fff_s", "fff", {pointStyle: "circle", pointRadius: 4}),
                    line("dense", "dense_s", "dense", {pointStyle: "rect", pointRadius: 5})];
  if (sorted.every(({bound_s: bound}) => bound > 0)) {
    datasets.push(line("bound of the FFF", "bound_s", "ink-2",
                       {borderDash: [6, 4], borderWidth: 1.5, pointRadius: 0}));
  }
  const label = ({dataset, raw}) => `${dataset.label}: ${formatSeconds(raw.y)}`;
  const x = axis({type: "logarithmic", text});
  x.ticks.callback = (value) => (sorted.some((point) => xOf(point) === value) ? value : null);
  x.afterBuildTicks = (scale) => { scale.ticks = sorted.map((point) => ({value: xOf(point)})); };
  return new Chart(canvas, {type: "line", data: {datasets},
                            options: options({x, y: logarithmic(formatSeconds, "")}, label)});
}
