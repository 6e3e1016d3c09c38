// The minute before the page was opened, which the server remembers. No DOM here.

// A scrape as it would have been: the one at hand, less what has happened since.
class PastScrape extends Scrape {
  constructor(scrape, time, since) {
    super("", time);
    this.byName = new Map(scrape.byName);
    for (const {name, labels, value} of since.values()) {
      this.byName.set(name, [...(this.byName.get(name) || []), {name, labels, value: -value}]);
    }
  }
}

// What a step counted, as samples of the metrics that the page reads.
function stepSamples({model, version, implementation}, step, bounds) {
  const labels = {model, version, implementation};
  const samples = [["fff_rows_total", labels, step.rows],
                   ["fff_compute_duration_seconds_sum", labels, step.compute_s],
                   ["fff_request_duration_seconds_sum", labels, step.duration_s]];
  const add = (name, label, counts, toCount) => {
    for (const [key, count] of Object.entries(counts)) {
      samples.push([name, {...labels, [label]: key}, toCount(count)]);
    }
  };
  add("fff_requests_total", "code", step.codes, (count) => count);
  add("fff_compute_rows_total", "batch_rows", step.costs, ([rows]) => rows);
  add("fff_compute_seconds_total", "batch_rows", step.costs, ([, seconds]) => seconds);
  for (const [name, counts] of [["fff_request_duration_seconds_bucket", step.durations],
                                ["fff_batch_rows_bucket", step.batch_rows]]) {
    for (const [bound, count] of Object.entries(counts)) {
      const from = bound === "+Inf" ? Infinity : Number(bound);
      for (const le of bounds.get(name) || []) {  // buckets are cumulative
        if ((le === "+Inf" ? Infinity : Number(le)) >= from * (1 - 1e-9)) {
          samples.push([name, {...labels, le}, count]);
        }
      }
    }
  }
  return samples;
}

// The scrapes before `scrape`, oldest first, from /history.json.
function pastScrapes(history, scrape) {
  const bounds = new Map(["fff_request_duration_seconds_bucket", "fff_batch_rows_bucket"].map((name) =>
    [name, [...new Set((scrape.byName.get(name) || []).map(({labels}) => labels.le))]]));
  const begun = new Map(history.ages_s.map((age) => [age, []]));  // what was counted from then on
  for (const series of history.series) {
    for (const step of series.steps) {
      begun.set(step.age_s, [...(begun.get(step.age_s) || []), ...stepSamples(series, step, bounds)]);
    }
  }
  const since = new Map(), past = [];
  for (const age of [...begun.keys()].sort((a, b) => a - b)) {
    for (const [name, labels, value] of begun.get(age)) {
      const key = JSON.stringify([name, labels]);
      const known = since.get(key);
      since.set(key, {name, labels, value: value + (known ? known.value : 0)});
    }
    past.unshift(new PastScrape(scrape, scrape.time - 1000 * age, since));
  }
  return past;
}
