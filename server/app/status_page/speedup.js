// How much faster the FFF was than its dense twin, like for like. No DOM here.

// Rows and seconds by batch size: Map(batch_rows -> {rows, seconds}).
function costsBySize(window, wanted) {
  const seconds = window.increaseBy("fff_compute_seconds_total", "batch_rows", wanted);
  const rows = window.increaseBy("fff_compute_rows_total", "batch_rows", wanted);
  return new Map([...rows].filter(([, count]) => count > 0)
    .map(([size, count]) => [size, {rows: count, seconds: seconds.get(size) || 0}]));
}

// Over the batch sizes that both answered, each weighted by the FFF's rows: what
// the FFF took per row, what the twin would have taken, and the ratio. `share`:
// of the FFF's rows, those at such sizes. NaN where no size is common.
function speedUp(window, wanted) {
  const fff = costsBySize(window, {...wanted, implementation: "fff"});
  const dense = costsBySize(window, {...wanted, implementation: "dense"});
  let rows = 0, all = 0, fffSeconds = 0, denseSeconds = 0;
  const sizes = [];
  for (const [size, cost] of fff) {
    all += cost.rows;
    const twin = dense.get(size);
    if (!twin) continue;
    sizes.push(size);
    rows += cost.rows;
    fffSeconds += cost.seconds;
    denseSeconds += (twin.seconds / twin.rows) * cost.rows;
  }
  return {
    ratio: denseSeconds / fffSeconds, fff: fffSeconds / rows, dense: denseSeconds / rows,
    share: rows / all, sizes, both: fff.size > 0 && dense.size > 0,
  };
}

// "88.1 % against 89.7 % right", "" where config.json states neither.
function accuracyText(accuracy) {
  const percent = (share) => (share === undefined ? "?" : `${(share * 100).toPrecision(3)} %`);
  if (!accuracy || (accuracy.fff === undefined && accuracy.dense === undefined)) return "";
  return `; accuracy ${percent(accuracy.fff)} against ${percent(accuracy.dense)}`
    + (accuracy.data ? ` on ${accuracy.data}` : "");
}

// The line below the figure. `name` is the model's, `twin` whether it has one.
function speedUpNote(found, when, {name, twin, accuracy}) {
  if (Number.isFinite(found.ratio)) {
    return `${formatSeconds(found.fff)} against ${formatSeconds(found.dense)} per row, at the batch sizes `
      + `that both answered (${(100 * found.share).toFixed(0)} % of the FFF's rows), ${when}${accuracyText(accuracy)}`;
  }
  if (!twin) return "no dense twin is loaded";
  if (found.both) return `no batch size was asked of both yet; try fffctl benchmark --model ${name}`;
  return `no requests to both yet; send some: fffctl predict --model ${name} --input FILE, `
    + `once more with --dense, or fffctl benchmark --model ${name}`;
}
