// Where the time of a network's sampled batches went: bars, words and a table.

// Groups below this part of the time on either side are added up.
const SHARE_MIN = 0.005;

// One implementation's times per token; null before the first sample.
function layerTimesOf(version, name) {
  const one = version.implementations.find((other) => other.name === name);
  const times = one && one.layer_times;
  if (!times) return null;
  const perToken = (wanted) => times.groups.filter(wanted)
    .reduce((sum, group) => sum + group.seconds, 0) / times.tokens;
  const all = perToken(() => true);
  const feedforward = perToken((group) => group.feedforward);
  return {...times, all, feedforward, share: all > 0 ? feedforward / all : NaN,
          of: (i) => times.groups[i].seconds / times.tokens};
}

const formatShare = (share) => (Number.isFinite(share)
  ? `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %` : "–");
const formatTimes = (ratio) => (Number.isFinite(ratio)
  ? `${ratio >= 100 ? ratio.toFixed(0) : ratio.toPrecision(3)}×` : "–");

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// The share of the feedforward, its speed-up, the network's, and Amdahl's bound.
function layerWords(fff, dense, unit) {
  const shares = [[fff, "FFF"], [dense, "dense"]].filter(([one]) => one)
    .map(([one, title]) => `${formatShare(one.share)} of the ${title} network's time`);
  const words = [`The feedforward takes ${shares.join(", ")}.`];
  if (fff && dense) {
    words.push(
      `Its layers are ${formatTimes(dense.feedforward / fff.feedforward)} as fast as dense ones, `
      + `the network ${formatTimes(dense.all / fff.all)} as fast, per ${unit}.`,
      "A feedforward that took no time would make the dense network "
      + `${formatTimes(1 / (1 - dense.share))} as fast, and no more (Amdahl).`);
  } else {
    words.push("The speed-up needs requests to both the FFF and its dense twin.");
  }
  return words.join(" ");
}

// As long as the time per token beside that of the slower implementation.
function layerBar(name, times, longest, unit) {
  const bar = element("div", "stack");
  times.groups.forEach(({layer, feedforward, seconds}, i) => {
    const part = element("span", feedforward ? "" : "rest");
    part.style.width = `${(100 * times.of(i)) / longest}%`;
    part.style.background = `var(--${name})`;
    part.title = `${layer}: ${formatSeconds(times.of(i))} per ${unit}, `
      + formatShare(seconds / times.tokens / times.all);
    if (times.of(i) > 0) bar.append(part);
  });
  const label = element("div", "bar-label", implementationName(name),
                        ` ${formatSeconds(times.all)} per ${unit}`);
  return element("div", "layer-bar", label, bar);
}

// [{text, note, count, feedforward, seconds: [..]}], a line per group that
// matters on one side, and one for the rest.
function layerLines(sides) {
  const lines = [];
  const few = {text: "what takes less", note: "", count: 0, feedforward: false,
               seconds: sides.map(() => 0)};
  sides[0].groups.forEach(({layer, count, feedforward}, i) => {
    const seconds = sides.map((side) => side.of(i));
    const others = sides.slice(1).map((side) => side.groups[i].layer);
    const note = others.filter((text) => text && text !== layer).join();
    if (seconds.some((s, k) => s >= SHARE_MIN * sides[k].all)) {
      lines.push({text: layer, note, count, feedforward, seconds});
    } else {
      few.count += count;
      few.seconds = few.seconds.map((sum, k) => sum + seconds[k]);
    }
  });
  return few.count ? [...lines, few] : lines;
}

function layerTable(names, sides, unit) {
  const table = element("table", "layers");
  const head = element("tr", "");
  const numbers = names.flatMap((name) => [`${TITLES[name]}, per ${unit}`, "share"]);
  if (sides.length > 1) numbers.push("dense / FFF");
  head.append(element("th", "", "Layers"), element("th", "number", "Count"),
              ...numbers.map((text) => element("th", "number", text)));
  table.createTHead().append(head);
  const body = table.createTBody();
  for (const {text, note, count, feedforward, seconds} of layerLines(sides)) {
    const name = element("div", feedforward ? "feedforward" : "", text);
    if (note) name.append(element("div", "quiet", `dense: ${note}`));
    const cells = seconds.flatMap((s, k) =>
      [{number: formatSeconds(s)}, {number: formatShare(s / sides[k].all)}]);
    // A part of what stands for an FFF layer has no time of its own.
    if (sides.length > 1) cells.push({number: formatTimes(seconds[1] ? seconds[1] / seconds[0] : NaN)});
    body.append(row([name, {number: count}, ...cells]));
  }
  return element("div", "scroll", table);
}

function layerBox(version, titled) {
  const times = {fff: layerTimesOf(version, "fff"), dense: layerTimesOf(version, "dense")};
  const names = IMPLEMENTATIONS.filter((name) => times[name]);
  if (!names.length) return null;
  const sides = names.map((name) => times[name]);
  const unit = sides.some(({rows, tokens}) => rows !== tokens) ? "token" : "row";
  const longest = Math.max(...sides.map(({all}) => all));
  const box = element("div", "");
  if (titled) box.append(element("p", "version", `Version ${version.version}`));
  const sampled = names.map((name) => `${TITLES[name]}: ${formatNumber(times[name].batches)} batches `
    + `of ${formatNumber(times[name].tokens / times[name].batches)} ${unit}s on average`);
  box.append(element("p", "", layerWords(times.fff, times.dense, unit)),
             ...names.map((name) => layerBar(name, times[name], longest, unit)),
             layerTable(names, sides, unit),
             element("p", "quiet", `Sampled ${sampled.join("; ")}.`));
  return box;
}

// Nothing at all while nothing is sampled.
function drawLayers(section, list, models, wanted) {
  const versions = models.filter(({name}) => !wanted.model || name === wanted.model);
  const boxes = versions.map((version) => layerBox(version, versions.length > 1))
    .filter((box) => box);
  section.hidden = boxes.length === 0;
  list.replaceChildren(...boxes);
}
