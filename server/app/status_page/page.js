// Polls the server and fills the page.

const parameters = new URLSearchParams(location.search);
const POLL_MS = Math.max(200, Number(parameters.get("poll")) || 2000);
const WINDOW_MS = 60000;   // what "the last minute" is
const HISTORY_MS = 300000;  // what the lines over time show
const POINTS_MAX = 300;

const page = {charts: null, scrapes: [], status: null, model: parameters.get("model")};
const byId = (id) => document.getElementById(id);
const setText = (id, text) => { byId(id).textContent = text; };

function setState(text, good) {
  byId("state").textContent = text;
  byId("state").className = `state ${good ? "good" : "bad"}`;
}

async function addScrape(scrape) {
  const {scrapes} = page;
  // Another start time is another process: its counters began at 0 again. What it
  // did before this page asked it, it remembers itself.
  if (!scrapes.length || scrapes[scrapes.length - 1].startTime !== scrape.startTime) {
    const history = await (await get("/history.json")).json();
    scrapes.splice(0, scrapes.length, ...pastScrapes(history, scrape));
  }
  scrapes.push(scrape);
  while (scrapes.length > POINTS_MAX || scrape.time - scrapes[0].time > HISTORY_MS) scrapes.shift();
}

// From the youngest scrape that is a window old (or the oldest there is).
function recentWindow() {
  const {scrapes} = page;
  const to = scrapes[scrapes.length - 1];
  const old = scrapes.filter((scrape) => to.time - scrape.time >= WINDOW_MS);
  return new Window(old.length ? old[old.length - 1] : scrapes[0], to);
}

function hasTwin() {
  const models = page.status ? page.status.models : [];
  return models.some(({name, implementations}) => (!page.model || name === page.model)
    && implementations.some((one) => one.name === "dense"));
}

function accuracyOf(name) {
  const models = page.status ? page.status.models : [];
  return (models.find((model) => model.name === name && model.default) || {}).accuracy;
}

function drawTiles(recent, sinceStart, wanted) {
  const fff = {...wanted, implementation: "fff"};
  const dense = {...wanted, implementation: "dense"};
  let found = speedUp(recent, wanted), when = "last minute";
  if (!Number.isFinite(found.ratio)) { found = speedUp(sinceStart, wanted); when = "since the start"; }
  const times = found.ratio >= 100 ? found.ratio.toFixed(0) : found.ratio.toPrecision(3);
  setText("speedup", Number.isFinite(found.ratio) ? `${times}×` : "–");
  setText("speedup-note", speedUpNote(found, when, {
    name: page.model || "NAME", twin: hasTwin(), accuracy: accuracyOf(page.model)}));

  setText("requests", `${formatNumber(recent.rate("fff_requests_total", wanted))}/s`);
  setText("requests-note", `${formatNumber(recent.to.sum("fff_inflight_requests", wanted))} in flight`);
  setText("rows", `${formatNumber(recent.rate("fff_rows_total", wanted))}/s`);
  setText("rows-note", `${formatNumber(recent.to.sum("fff_queue_rows", wanted))} waiting`);
  setText("p99", formatSeconds(recent.quantile(0.99, "fff_request_duration_seconds", fff)));
  setText("p99-note", `dense ${formatSeconds(recent.quantile(0.99, "fff_request_duration_seconds", dense))}`);

  const codes = [...recent.increaseBy("fff_requests_total", "code", wanted)].filter(([, count]) => count > 0);
  const all = codes.reduce((sum, [, count]) => sum + count, 0);
  const wrong = codes.filter(([code]) => !CALLER_CODES.has(code));
  const failed = wrong.reduce((sum, [, count]) => sum + count, 0);
  setText("errors", all > 0 ? `${((100 * failed) / all).toFixed(failed ? 2 : 0)} %` : "–");
  setText("errors-note", wrong.map(([code, count]) => `${count} ${code}`).join(", ") || "by the server's fault");
}

function draw() {
  if (page.status) {
    drawLayers(byId("layers-section"), byId("layers"), page.status.models,
               page.model ? {model: page.model} : {});
  }
  if (!page.scrapes.length) return;
  const {scrapes} = page;
  const wanted = page.model ? {model: page.model} : {};
  const sinceStart = new Window(null, scrapes[scrapes.length - 1]);
  // Before the second scrape there is no last minute; rates stay empty.
  const recent = scrapes.length > 1 ? recentWindow() : sinceStart;
  const steps = scrapes.slice(1).map((scrape, i) => new Window(scrapes[i], scrape));
  drawTiles(recent, sinceStart, wanted);
  drawCharts(page.charts, steps, recent, wanted);
  drawRouting(byId("routing"), recent, sinceStart, wanted);
  setText("updated", `updated ${new Date(sinceStart.to.time).toLocaleTimeString()}`);
}

function row(values) {
  const tr = document.createElement("tr");
  for (const value of values) {
    const td = document.createElement("td");
    if (value && value.number !== undefined) { td.className = "number"; td.textContent = value.number; }
    else if (value instanceof Node) td.append(value);
    else td.textContent = value;
    tr.append(td);
  }
  return tr;
}

function implementationName(name) {
  const span = document.createElement("span");
  const mark = document.createElement("span");
  mark.className = "mark";
  mark.style.background = `var(--${name})`;
  span.append(mark, TITLES[name]);
  return span;
}

function modelRows({name, version, state, reason, default: isDefault, implementations}) {
  const label = `${version || "–"}${isDefault ? " (default)" : ""}`;
  if (!implementations.length) {
    const why = document.createElement("span");
    why.className = state === "failed" ? "bad-text" : "";
    why.textContent = reason;
    return [row([name, label, state, why, "", {number: ""}, {number: ""}])];
  }
  return implementations.map((one) => {
    const network = document.createElement("div");
    const text = one.description || one.layers.map((layer) => layer.description).join(" | ");
    const outputs = one.outputs.length > 1 ? ` | outputs: ${one.outputs.join(", ")}` : "";
    network.append(implementationName(one.name), ` ${text}${outputs}`);
    if (one.precision) {  // changed routes, too
      const note = document.createElement("div");
      note.className = "quiet";
      note.textContent = one.precision;
      network.append(note);
    }
    for (const warning of [reason, ...one.assumed.map((text) => `assumed: ${text}`)].filter(Boolean)) {
      const why = document.createElement("div");
      why.className = "bad-text";
      why.textContent = warning;
      network.append(why);
    }
    return row([name, label, state, network, one.device, {number: formatBytes(one.weights_bytes)},
                {number: formatSeconds(one.load_seconds)}]);
  });
}

function kernelRows(model) {
  const rows = [];
  for (const one of model.implementations) {
    one.layers.forEach((layer, i) => layer.kernels.forEach((step, k) => {
      const next = layer.kernels[k + 1];
      const from = formatNumber(step.rows_min);
      const to = next ? formatNumber(next.rows_min - 1) : "";
      const range = to === from ? from : next ? `${from} to ${to}` : `${from} and more`;
      const name = document.createElement("div");
      name.append(implementationName(one.name), ` ${model.name} ${model.version}`);
      rows.push(row([name, `${i} ${layer.type}`, {number: range}, step.kernel, step.reason]));
    }));
  }
  return rows;
}

function fillChoice(names) {
  const select = byId("model");
  if (page.model && !names.includes(page.model)) page.model = null;
  if (!page.model) page.model = names[0] || null;
  if ([...select.options].map((option) => option.value).join() !== names.join()) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  select.value = page.model;
  byId("model-choice").hidden = names.length < 2;
}

function drawStatus() {
  const {server, models} = page.status;
  setText("server", `${server.version} · ${server.cpu} · ${server.threads} threads`);
  // A folder that does not fit is listed, too, and nothing to be alarmed at.
  const failed = models.filter(({state, reason}) => state === "failed" && !reason.startsWith("passed over: ")).length;
  setState((server.ready ? "ready" : "not ready") + (failed ? `, ${failed} failed to load` : ""),
           server.ready && !failed);
  // A model that failed stays chosen; those that answer come first, and a folder
  // that does not fit is none.
  const known = models.filter(({reason}) => !reason.startsWith("passed over: "));
  const answers = ({implementations}) => (implementations.length ? 0 : 1);
  known.sort((a, b) => answers(a) - answers(b));
  fillChoice([...new Set((known.length ? known : models).map(({name}) => name))]);
  byId("models").tBodies[0].replaceChildren(...models.flatMap(modelRows));
  byId("kernels").tBodies[0].replaceChildren(...models.flatMap(kernelRows));
}

async function get(path) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(5000)});
  if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`);
  return answer;
}

async function poll() {
  try {
    page.status = await (await get("/status.json")).json();
    drawStatus();
    await addScrape(new Scrape(await (await get("/metrics")).text(), Date.now()));
    draw();
  } catch (error) {
    setState("no answer from the server", false);
  }
  setTimeout(poll, document.hidden ? 5 * POLL_MS : POLL_MS);
}

function restyle() {
  if (page.charts) Object.values(page.charts).forEach((chart) => chart.destroy());
  page.charts = makeCharts();
  draw();
}

byId("model").addEventListener("change", ({target}) => { page.model = target.value; draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
restyle();
poll();
