// The routing tree as a heat map: a table with one row of cells a level.

// Shares of the subtrees on each level, root first, from the lowest level's.
function treeLevels(leaves) {
  const levels = [leaves];
  while (levels[0].length > 1) {
    const below = levels[0];
    levels.unshift(below.filter((_, i) => i % 2 === 0).map((share, i) => share + below[2 * i + 1]));
  }
  return levels;
}

// 0 when all subtrees get the same share, 1 when one gets everything.
function routingSkew(shares) {
  return shares.length > 1 ? (Math.max(...shares) * shares.length - 1) / (shares.length - 1) : 0;
}

function cell(share, level, index, width) {
  const td = document.createElement("td");
  td.colSpan = width;
  // Relative to an even split, so that every level uses the whole ramp.
  const heat = Math.min(1, (share * 2 ** level) / 3);
  td.style.background = `rgba(${color("heat")}, ${(0.06 + 0.84 * heat).toFixed(3)})`;
  if (heat > 0.75) td.style.color = "#fff";
  const percent = share * 100;
  td.textContent = percent >= 10 || percent === 0 ? percent.toFixed(0) : percent.toFixed(1);
  td.title = `level ${level}, subtree ${index}: ${percent.toFixed(2)} % of the rows`;
  return td;
}

function tree(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const shares = counts.map((count) => (total > 0 ? count / total : 0));
  const table = document.createElement("table");
  table.className = "tree";
  treeLevels(shares).forEach((level, depth) => {
    const row = table.insertRow();
    level.forEach((share, i) => row.append(cell(share, depth, i, counts.length / level.length)));
  });
  return {table, skew: routingSkew(shares), total};
}

function drawRouting(element, recent, sinceStart, wanted) {
  const layers = [...sinceStart.to.sumBy("fff_leaf_visits_total", "layer", wanted).keys()];
  element.replaceChildren(...layers.sort((a, b) => a - b).map((layer) => {
    const countsOf = (window) => {
      const bySubtree = window.increaseBy("fff_leaf_visits_total", "subtree", {...wanted, layer});
      return [...bySubtree].sort(([a], [b]) => a - b).map(([, count]) => count);
    };
    let counts = countsOf(recent);
    if (!counts.some((count) => count > 0)) counts = countsOf(sinceStart);
    const {table, skew, total} = tree(counts);
    const note = document.createElement("p");
    note.className = "quiet";
    note.textContent = total > 0
      ? `Layer ${layer}: ${formatNumber(total)} rows; skew ${skew.toFixed(2)} (0 is even, 1 is all in one subtree); cells in percent`
      : `Layer ${layer}: no rows yet`;
    const box = document.createElement("div");
    box.append(note, table);
    return box;
  }));
}
