// Run Pine scripts over given bars in the user's Pine engine and print one line of JSON per script.
//
// usage: node pine_runner.mjs ENGINE_MODULE < INPUT.json
// INPUT: {charts: [{symbol, timeframe, step_ms, tick_size, open_time_ms[], open[], high[], low[], close[], volume[]}],
//         jobs: [{chart, script, plots: [title]}]}
// Output, per job and in their order: {closed, open, plots, complaints} or {error}.
//
// This file is aiopt's own; the engine is another's program and is loaded from where the user has it.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [modulePath] = process.argv.slice(2);

// Engine chatter must not mix with the JSON on stdout.
let complaints = [];
for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
  console[level] = (...args) => {
    if (complaints.length < 100) complaints.push(`${level}: ${args.map(String).join(' ')}`.slice(0, 1000));
  };
}

// PineTS makes a formatter for every hour() or dayofweek() of a zone, which takes longer than all else it does on
// a bar. A formatter never changes: one per kind is kept, and what it last said of a time.
const formatters = new Map();
const keptFormatter = (Made, args) => {
  const kind = JSON.stringify(args);
  if (!formatters.has(kind)) {
    const made = new Made(...args);
    let at, parts;
    const formatToParts = (date) => {
      const time = Number(date);
      if (time !== at) [at, parts] = [time, made.formatToParts(date)];
      return parts;
    };
    formatters.set(kind, { format: (date) => made.format(date), formatToParts });
  }
  return formatters.get(kind);
};
Intl.DateTimeFormat = new Proxy(Intl.DateTimeFormat, { construct: keptFormatter });

const { PineTS } = await import(pathToFileURL(modulePath).href);
const input = JSON.parse(readFileSync(0, 'utf8'));

// Highs and lows are moved by less than any comparison sees (see below), but by more than the two last places
// that three rounded prices can be off: of gold at 1,800, as of EUR/USD at 1.2.
const threeLastPlaces = (price) => 3 * 2 ** (Math.floor(Math.log2(price)) - 52);

const rowsOf = (chart) => {
  // PineTS puts stops and limits on the tick grid as k * mintick in floating point, which can lie one unit in
  // the last place above the decimal price; a bar that touches such a price exactly would then miss it.
  // The bars are put on the same grid with the same expression, so that a touch is a touch.  A level that it
  // lays from a fill, `entry - loss * mintick`, is off that grid by the noise of the sum: highs and lows reach
  // further by more than that.
  const tick = chart.tick_size;
  const onGrid = (price) => Math.round(price / tick) * tick;
  // PineTS lets the price go up first if |high - open| <= |open - low|, in plain floats: an open exactly in the
  // middle goes either way by the last bit.
  const isTie = (i) =>
    Math.round((chart.high[i] - chart.open[i]) / tick) === Math.round((chart.open[i] - chart.low[i]) / tick);
  return chart.open_time_ms.map((time, i) => {
    const unseen = threeLastPlaces(onGrid(chart.high[i]));
    return {
      openTime: time,
      open: onGrid(chart.open[i]),
      high: onGrid(chart.high[i]) + unseen,
      low: onGrid(chart.low[i]) - unseen * (isTie(i) ? 2 : 1),
      close: onGrid(chart.close[i]),
      volume: chart.volume[i],
      closeTime: time + chart.step_ms,
    };
  });
};

const providerOf = (chart, rows) => ({
  configure() {},
  async getMarketData() {
    // Copies: a script must not see what another left.
    return rows.map((row) => ({ ...row }));
  },
  async getSymbolInfo() {
    return { ...chart.symbol };
  },
});

const trade = (t) => ({
  entry_id: t.entry_id ?? null,
  entry_bar: t.entry_bar_index,
  entry_price: t.entry_price,
  exit_bar: t.exit_bar_index ?? null,
  exit_price: t.exit_price ?? null,
  exit_id: t.exit_id ?? null,
  exit_comment: t.exit_comment ?? null,
  size: t.size,
  profit: t.profit ?? null,
});

const number = (value) => (typeof value === 'number' ? value : Number(value));

const run = async (job) => {
  const { chart, rows } = charts[job.chart];
  const engine = new PineTS(providerOf(chart, rows), chart.symbol.tickerid, chart.timeframe);
  await engine.ready();
  const context = await engine.run(job.script);
  const plots = {};
  for (const title of job.plots) {
    const plot = context.plots[title];
    if (plot !== undefined) plots[title] = plot.data.map((point) => number(point.value));
  }
  return {
    closed: (context.strategy?.closedtrades ?? []).map(trade),
    open: (context.strategy?.opentrades ?? []).map(trade),
    plots,
    complaints,
  };
};

const charts = input.charts.map((chart) => ({ chart, rows: rowsOf(chart) }));
const write = (line) => new Promise((done) => process.stdout.write(`${line}\n`, done));

for (const job of input.jobs) {
  complaints = [];
  let answer;
  try {
    answer = await run(job);
  } catch (error) {
    answer = { error: String(error?.message ?? error).slice(0, 2000) };
  }
  await write(JSON.stringify(answer));
}
