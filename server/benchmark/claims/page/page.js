// The page of a claims report: its JSON as tables and charts.

const report = JSON.parse(document.getElementById("report").textContent);
const charts = {};

// Text only, so that nothing in the report is read as HTML.
function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function row(tag, cells) {
  const made = element("tr");
  for (const [text, className] of cells) made.append(element(tag, text, className));
  return made;
}

const classOf = (verdict) => verdict.replaceAll(" ", "-");

function showHead() {
  const threads = `${report.threads_all} ${report.threads_all === 1 ? "thread" : "threads"}`;
  document.getElementById("machine").textContent =
    `${report.cpu_model}, ${report.isa}, ${threads}; fffctl ${report.version}, ${report.date}, `
    + `${report.seconds} s per side and run${report.quick ? ", --quick" : ""}`;
  document.getElementById("how").textContent =
    `${report.how_to_read} Disturbed runs: ${report.disturbed_runs}.`;
  for (const [verdict, count] of Object.entries(report.counts)) {
    const tile = element("div", undefined, "tile");
    tile.append(element("b", count, classOf(verdict)), verdict);
    document.getElementById("counts").append(tile);
  }
}

const COLUMNS = ["rows", "threads", "weights", "neurons", "leaves", "ours", "FFF", "dense", "dense strength",
                 "same width", "bound"];

function pointCells(point) {
  const same = point.baselines.find(({kind}) => kind === "inference_width");
  return [
    point.rows, point.threads, point.cold ? "cold" : "warm", point.neurons, point.distinct_leaves,
    formatTimes(point.speedup) + (point.disturbed ? " !" : ""), formatSeconds(point.fff_s), formatSeconds(point.dense_s),
    point.dense_strength > 0 ? `${(100 * point.dense_strength).toFixed(0)} %` : "–",
    same ? formatTimes(same.speedup) : "–",
    point.bound_s > 0
      ? `${formatSeconds(point.bound_s)} (${(100 * point.bound_reached).toFixed(0)} %), ${point.bound_by}`
      : "–",
  ].map((text) => [text, "number"]);
}

function claimRows(claim) {
  const head = (rest, first) => row("td", [
    [first ? claim.id : "", "id"], [first ? formatTimes(claim.published) : "", "number"], ...rest]);
  const rows = claim.points.map((point, i) => head(pointCells(point), i === 0));
  if (rows.length === 0) rows.push(head(COLUMNS.map(() => ["–", "number"]), true));
  const verdict = element("td", `${claim.claim}. `, "sentence");
  verdict.colSpan = COLUMNS.length + 2;
  verdict.append(element("span", claim.sentence, classOf(claim.verdict)));
  const line = element("tr");
  line.append(verdict);
  return [...rows, line];
}

function showSource(claims) {
  const section = element("section");
  const [{source, url, conditions, flaws}] = claims;
  section.append(element("h2", source), element("p", url, "quiet"),
                 element("p", `Conditions: ${conditions}.`, "quiet"));
  if (flaws) section.append(element("p", `Known flaws: ${flaws}.`, "quiet flaws"));
  const table = element("table");
  const head = element("thead");
  head.append(row("th", [["claim"], ["published", "number"],
                         ...COLUMNS.map((name) => [name, "number"])]));
  const body = element("tbody");
  for (const claim of claims) body.append(...claimRows(claim));
  table.append(head, body);
  const scroll = element("div", undefined, "scroll");
  scroll.append(table);
  section.append(scroll);
  document.getElementById("sources").append(section);
}

function showSources() {
  const sources = new Map();
  for (const claim of report.claims) {
    sources.set(claim.source, [...(sources.get(claim.source) || []), claim]);
  }
  sources.forEach(showSource);
}

// One thread, warm, of a case; each run once.
function pointsOf(name, wanted) {
  const runs = new Map();
  for (const {points} of report.claims) {
    for (const point of points) {
      if (point.case === name && point.threads === 1 && !point.cold && wanted(point)) {
        runs.set(point.run, point);
      }
    }
  }
  return [...runs.values()];
}

function showTimes(id, points, xOf, text) {
  if (points.length < 2) return;
  document.getElementById(`${id}-figure`).hidden = false;
  charts[id] = drawTimes(document.getElementById(id), points, xOf, text);
}

showHead();
showSources();
charts.speedups = drawSpeedups(document.getElementById("speedups"), report.claims);
showTimes("batches", pointsOf("path-768-l12", ({depth}) => depth < 0), ({rows}) => rows,
          "rows of one call");
showTimes("blocks", pointsOf("leaf-768-32-768-d12", () => true), ({depth}) => 2 ** depth,
          "leaves (blocks of 32 neurons)");
