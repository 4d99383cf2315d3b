// Run one Pine script over given bars in PineTS and print its trades as JSON.
//
// usage: node run.mjs PINETS_MODULE INPUT.json
// INPUT: {script, tick_size, timeframe, step_ms, open_time_ms[], open[], high[], low[], close[], volume[], plots: [title]}
//
// It is a subprocess of tests only: no part of the package imports or ships PineTS (AGPL-3.0).
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [modulePath, inputPath] = process.argv.slice(2);
const { PineTS } = await import(pathToFileURL(modulePath).href);
const input = JSON.parse(readFileSync(inputPath, 'utf8'));

// PineTS puts stops and limits on the tick grid as k * mintick in floating point, which can lie one unit in
// the last place above the decimal price; a bar that touches such a price exactly would then miss it.
// The bars are put on the same grid with the same expression, so that a touch is a touch.
const tick = input.tick_size;
const onGrid = (price) => Math.round(price / tick) * tick;

// PineTS lets the price go up first if |high - open| <= |open - low|, in plain floats: an open exactly in the
// middle goes either way by the last bit. The low is moved by less than any comparison sees, so that a tie
// is a tie.
const BELOW_EVERY_TOLERANCE = 1e-15;

const isTie = (i) =>
  Math.round((input.high[i] - input.open[i]) / tick) === Math.round((input.open[i] - input.low[i]) / tick);

const rows = input.open_time_ms.map((time, i) => ({
  openTime: time,
  open: onGrid(input.open[i]),
  high: onGrid(input.high[i]),
  low: onGrid(input.low[i]) - (isTie(i) ? BELOW_EVERY_TOLERANCE : 0),
  close: onGrid(input.close[i]),
  volume: input.volume[i],
  closeTime: time + input.step_ms,
}));

const provider = {
  configure() {},
  async getMarketData() {
    return rows;
  },
  async getSymbolInfo() {
    return {
      ticker: 'EURUSD',
      tickerid: 'TEST:EURUSD',
      prefix: 'TEST',
      description: 'EUR/USD',
      type: 'forex',
      currency: 'USD',
      basecurrency: 'EUR',
      mintick: tick,
      minmove: 1,
      pricescale: Math.round(1 / tick),
      pointvalue: 1,
      timezone: 'UTC',
      session: '24x7',
      volumetype: 'tick',
    };
  },
};

// Engine chatter must not mix with the JSON on stdout.
const complaints = [];
for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
  console[level] = (...args) => complaints.push(`${level}: ${args.map(String).join(' ')}`);
}

const engine = new PineTS(provider, 'TEST:EURUSD', input.timeframe);
await engine.ready();
const context = await engine.run(input.script);

const trade = (t) => ({
  entry_id: t.entry_id,
  entry_bar: t.entry_bar_index,
  entry_price: t.entry_price,
  exit_bar: t.exit_bar_index ?? null,
  exit_price: t.exit_price ?? null,
  exit_id: t.exit_id ?? null,
  exit_comment: t.exit_comment ?? null,
  size: t.size,
  profit: t.profit ?? null,
});

const plots = {};
for (const title of input.plots) {
  const plot = context.plots[title];
  if (plot === undefined) {
    process.stderr.write(`no plot titled ${JSON.stringify(title)}; plots: ${Object.keys(context.plots).join(', ')}\n`);
    process.exit(3);
  }
  plots[title] = plot.data.map((point) => (typeof point.value === 'number' ? point.value : Number(point.value)));
}

process.stdout.write(
  JSON.stringify({
    closed: (context.strategy?.closedtrades ?? []).map(trade),
    open: (context.strategy?.opentrades ?? []).map(trade),
    plots,
    complaints,
  }),
);
