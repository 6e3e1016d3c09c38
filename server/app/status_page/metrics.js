// Reading /metrics: parsing, windows of time, percentiles. No DOM here.

// Prometheus text -> [{name, labels, value}].
function parseMetrics(text) {
  const samples = [];
  const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
  const pair = /(\w+)="((?:[^"\\]|\\.)*)"/g;
  for (const row of text.split("\n")) {
    if (row.startsWith("#")) continue;
    const found = line.exec(row);
    if (!found) continue;
    const labels = {};
    for (const [, key, quoted] of (found[2] || "").matchAll(pair)) {
      labels[key] = quoted.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    const value = found[3] === "+Inf" ? Infinity : Number(found[3]);
    samples.push({name: found[1], labels, value});
  }
  return samples;
}

// One scrape: sums over the samples that carry the given labels.
class Scrape {
  constructor(text, time) {
    this.time = time;  // milliseconds
    this.byName = new Map();
    for (const sample of parseMetrics(text)) {
      if (!this.byName.has(sample.name)) this.byName.set(sample.name, []);
      this.byName.get(sample.name).push(sample);
    }
  }
  select(name, wanted) {
    return (this.byName.get(name) || []).filter((sample) =>
      Object.entries(wanted).every(([key, value]) => sample.labels[key] === value));
  }
  sum(name, wanted = {}) {
    return this.select(name, wanted).reduce((sum, sample) => sum + sample.value, 0);
  }
  // Sums by one label: Map(label value -> sum).
  sumBy(name, label, wanted = {}) {
    const sums = new Map();
    for (const {labels, value} of this.select(name, wanted)) {
      sums.set(labels[label], (sums.get(labels[label]) || 0) + value);
    }
    return sums;
  }
  get startTime() { return this.sum("process_start_time_seconds"); }
}

// What happened between two scrapes of one process; `from` may be null, which
// means since the start.
class Window {
  constructor(from, to) {
    this.from = from;
    this.to = to;
    this.seconds = from ? (to.time - from.time) / 1000 : NaN;
  }
  increase(name, wanted) {
    return this.to.sum(name, wanted) - (this.from ? this.from.sum(name, wanted) : 0);
  }
  rate(name, wanted) { return this.increase(name, wanted) / this.seconds; }
  increaseBy(name, label, wanted) {
    const sums = this.to.sumBy(name, label, wanted);
    if (!this.from) return sums;
    const before = this.from.sumBy(name, label, wanted);
    return new Map([...sums].map(([key, value]) => [key, value - (before.get(key) || 0)]));
  }
  // A histogram's buckets: [{bound, count}], ascending, not cumulative.
  buckets(name, wanted) {
    const cumulative = [...this.increaseBy(name + "_bucket", "le", wanted)]
      .map(([le, count]) => ({bound: le === "+Inf" ? Infinity : Number(le), count}))
      .sort((a, b) => a.bound - b.bound);
    return cumulative.map(({bound, count}, i) =>
      ({bound, count: count - (i ? cumulative[i - 1].count : 0)}));
  }
  // As PromQL's histogram_quantile: linear inside a bucket; NaN without samples.
  quantile(q, name, wanted) {
    const buckets = this.buckets(name, wanted);
    const total = buckets.reduce((sum, {count}) => sum + count, 0);
    if (!(total > 0)) return NaN;
    let rank = q * total;
    for (let i = 0; i < buckets.length; ++i) {
      const low = i ? buckets[i - 1].bound : 0;
      if (rank <= buckets[i].count || i === buckets.length - 1) {
        if (buckets[i].bound === Infinity) return low;
        return low + (buckets[i].bound - low) * (rank / buckets[i].count);
      }
      rank -= buckets[i].count;
    }
    return NaN;
  }
  // Seconds of computing per row; NaN when no row was computed.
  computePerRow(wanted) {
    const rows = this.increase("fff_rows_total", wanted);
    return rows > 0 ? this.increase("fff_compute_duration_seconds_sum", wanted) / rows : NaN;
  }
}

// Codes that are the caller's doing; every other one but OK is the server's.
const CALLER_CODES = new Set(
  ["OK", "CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED"]);

function formatSeconds(s) {
  if (!Number.isFinite(s)) return "–";
  if (s >= 1) return `${s.toPrecision(3)} s`;
  if (s >= 1e-3) return `${(s * 1e3).toPrecision(3)} ms`;
  if (s >= 1e-6 || s === 0) return `${(s * 1e6).toPrecision(3)} µs`;
  return `${(s * 1e9).toPrecision(3)} ns`;
}
function formatNumber(value) {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e4) return `${(value / 1e3).toPrecision(3)} k`;
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toPrecision(2);
}
function formatBytes(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toPrecision(3)} MB` : `${(bytes / 1e3).toPrecision(3)} kB`;
}
