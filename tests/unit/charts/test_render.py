"""Charts to the pixel, from formulas written again here."""

import hashlib
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from aiopt.bars.schema import BarArrays
from aiopt.charts import ChartSpec, PreparedChart, TradeMark, parse_plot, render_chart
from aiopt.charts.font import REGULAR, set_text
from aiopt.charts.theme import FULL, LINE_INKS, Colour, mixing_table, theme
from aiopt.errors import ConfigError, DataError
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.pictures import MONDAY_NS, bars_of, decode_png
from aiopt.trades import FollowedTrade, StopMove
from aiopt.utc import MINUTE_NS

FIVE = [
    (1.1010, 1.1030, 1.1000, 1.1020),
    (1.1020, 1.1025, 1.0990, 1.0995),
    (1.0995, 1.0995, 1.0995, 1.0995),
    (1.0995, 1.1040, 1.0980, 1.0995),
    (1.1000, 1.1100, 1.1000, 1.1100),
]
PRICE_TOP, LEFT, AXIS, TIME_AXIS = 56, 12, 84, 28


KNOWN = {
    "dark": "09195e1277a43a0cf556d2c8569ab4d0e9652f194181f43535ba1fc5d56a8c02",
    "light": "c04cee59861887a52e27626348d83d8ec356ee8a7a389ef57468fe6698d8e98f",
}


def row_of(price: float, low: float, high: float, top: int, bottom: int) -> int:
    return math.floor(top + (high - price) / (high - low) * (bottom - top) + 0.5)


def pixels(bars: BarArrays, spec: ChartSpec, **more: object) -> np.ndarray:
    return decode_png(render_chart(bars, spec, **more))[0]


@pytest.mark.parametrize(("width", "height"), [(1200, 800), (640, 480), (1001, 333)])
@pytest.mark.parametrize("name", ["dark", "light"])
def test_candles_lie_where_the_formula_says(width: int, height: int, name: str) -> None:
    low, high = 1.0950, 1.1150
    spec = ChartSpec(width=width, height=height, theme=name, price_low=low, price_high=high)
    image, palette = decode_png(render_chart(bars_of(FIVE), spec))
    assert image.shape == (height, width)
    np.testing.assert_array_equal(palette, theme(name).palette)
    bottom = height - TIME_AXIS - 1
    plot_width = width - LEFT - AXIS
    for bar, (opened, highest, lowest, close) in enumerate(FIVE):
        colour = Colour.UP if close > opened else Colour.DOWN if close < opened else Colour.FLAT
        centre = LEFT + (2 * bar + 1) * plot_width // 10
        wick = np.flatnonzero(image[PRICE_TOP : bottom + 1, centre] == colour) + PRICE_TOP
        expected = [row_of(price, low, high, PRICE_TOP, bottom) for price in (highest, lowest)]
        assert (wick[0], wick[-1], wick.size) == (*expected, expected[1] - expected[0] + 1)
        # Bodies reach their widest, 15 columns to both sides.
        for side in (centre - 15, centre + 15):
            body = np.flatnonzero(image[PRICE_TOP : bottom + 1, side] == colour) + PRICE_TOP
            ends = [
                row_of(price, low, high, PRICE_TOP, bottom)
                for price in (max(opened, close), min(opened, close))
            ]
            assert (body[0], body[-1], body.size) == (*ends, ends[1] - ends[0] + 1)
        for side in (centre - 16, centre + 16):
            assert not (image[PRICE_TOP : row_of(close, low, high, PRICE_TOP, bottom), side] == colour).any()


def test_automatic_range_leaves_five_per_cent_and_holds_every_wick() -> None:
    layout = PreparedChart(bars_of(FIVE), ChartSpec()).layout()
    span = 1.1100 - 1.0980
    assert layout.price.low == pytest.approx(1.0980 - 0.05 * span)
    assert layout.price.high == pytest.approx(1.1100 + 0.05 * span)
    assert (layout.price.top, layout.price.bottom) == (56, 771)


def find_text(
    image: np.ndarray, text: str, ink: int, surface: int = Colour.BACKGROUND
) -> list[tuple[int, int]]:
    """Return top left corners at which a text stands, compared pixel by pixel."""
    pattern = mixing_table(ink)[set_text(REGULAR, text), surface]
    windows = np.lib.stride_tricks.sliding_window_view(image, pattern.shape)
    return [tuple(map(int, at)) for at in np.argwhere((windows == pattern).all(axis=(2, 3)))]


def test_price_labels_stand_beside_their_rows() -> None:
    low, high = 1.0950, 1.1150
    image = pixels(bars_of(FIVE), ChartSpec(price_low=low, price_high=high))
    for label in ("1.09600", "1.10000", "1.10400", "1.11400"):
        row = row_of(float(label), low, high, PRICE_TOP, 771)
        assert (image[row, LEFT:1116] == Colour.GRID).mean() > 0.5
        assert [at[0] for at in find_text(image[:, 1116:], label, Colour.MUTED)] == [
            row - REGULAR.height // 2
        ]


def test_last_price_is_tagged_in_its_colour() -> None:
    image = pixels(bars_of(FIVE), ChartSpec(price_low=1.0950, price_high=1.1150))
    row = row_of(1.1100, 1.0950, 1.1150, PRICE_TOP, 771)
    found = find_text(image[:, 1116:], "1.11000", Colour.TAG_TEXT, Colour.UP)
    assert [at[0] for at in found] == [row - REGULAR.height // 2]


def test_time_labels_stand_under_their_bars() -> None:
    bars = random_walk_bars(100, seed=1, timeframe="5m")
    image = pixels(bars, ChartSpec())
    for label in ("02:00", "04:00", "08:00"):
        bar = int(label[:2]) * 12
        assert bars.ts_open_ns[bar] == MONDAY_NS + int(label[:2]) * 60 * MINUTE_NS
        centre = LEFT + (2 * bar + 1) * 1104 // 200
        (at,) = find_text(image[772:], label, Colour.MUTED)
        assert at[1] + REGULAR.width(label) // 2 == centre


def test_overlay_passes_through_its_values() -> None:
    bars = random_walk_bars(100, seed=1)
    level = np.full(100, float(bars.high.max()))
    level[:10] = np.nan
    chart = PreparedChart(bars, ChartSpec(), overlays={"resistance": level})
    image, scale = chart.draw(), chart.layout().price
    row = scale.row(level[-1])
    centres = LEFT + (2 * np.arange(100) + 1) * 1104 // 200
    assert (image[row, centres[10] : centres[-1] + 1] == LINE_INKS[0]).all()
    assert not (image[PRICE_TOP:700, : centres[9]] == LINE_INKS[0]).any()
    assert find_text(image[:56], f"resistance  {level[-1]:.5f}", LINE_INKS[0])


def test_indicators_are_those_of_the_indicator_package() -> None:
    bars = random_walk_bars(300, seed=3)
    spec = ChartSpec(overlays=(parse_plot("ema:length=30"),), panes=(parse_plot("rsi"),), volume=False)
    chart = PreparedChart(bars, spec)
    image, layout = chart.draw(100, 300), chart.layout(100, 300)
    assert layout.indicators[0].row(100.0) == layout.panes.indicators[0].top
    assert layout.indicators[0].row(0.0) == layout.panes.indicators[0].bottom
    from aiopt.indicators import ema, rsi

    full = mixing_table(LINE_INKS[0])[1:].ravel()
    for values, scale in ((ema(bars.close, 30), layout.price), (rsi(bars.close, 14), layout.indicators[0])):
        rows = scale.rows(values[100:300])
        # A line is drawn through every bar's value, whatever lay below.
        assert np.isin(image[rows, layout.bars.centres], full).all()


def test_window_of_a_prepared_chart_has_no_warm_up_of_its_own() -> None:
    bars = random_walk_bars(300, seed=3)
    spec = ChartSpec(overlays=(parse_plot("sma:length=150"),))
    assert PreparedChart(bars, spec).first_ready() == 149
    PreparedChart(bars, spec).render(200, 300)
    with pytest.raises(DataError, match="SMA 150 has no value on bars 0 to 99"):
        render_chart(bars.slice(200, 300), spec)
    with pytest.raises(DataError, match="MACD 12 26 9, macd has no value"):
        render_chart(bars.slice(0, 20), ChartSpec(panes=(parse_plot("macd"),)))


def test_volume_columns_are_proportional() -> None:
    bars = replace(bars_of(FIVE), volume=np.array([100.0, 50.0, 0.0, 200.0, 1.0]))
    chart = PreparedChart(bars, ChartSpec())
    image, box = chart.draw(), chart.layout().panes.volume
    assert box is not None
    expected = [math.floor(box.top + (210 - v) / 210 * (box.bottom - box.top) + 0.5) for v in bars.volume]
    for bar, top in enumerate(expected):
        column = image[box.top : box.bottom + 1, LEFT + (2 * bar + 1) * 1104 // 10]
        rows = np.flatnonzero((column == Colour.VOLUME_UP) | (column == Colour.VOLUME_DOWN))
        assert rows.size == (0 if bar == 2 else box.bottom - top + 1)
    assert PreparedChart(bars_of(FIVE), ChartSpec()).layout().panes.volume is None


def test_histogram_grows_from_zero() -> None:
    bars = random_walk_bars(120, seed=4)
    chart = PreparedChart(bars, ChartSpec(panes=(parse_plot("macd"),)))
    image, layout = chart.draw(), chart.layout()
    from aiopt.indicators import macd

    values, scale = macd(bars.close, 12, 26, 9).histogram, layout.indicators[0]
    checked = 0
    left = layout.bars.centres - layout.bars.body[0]
    for bar in np.flatnonzero(np.isfinite(values)):
        rows = sorted((scale.row(0.0), scale.row(values[bar])))
        column = image[rows[0] : rows[1] + 1, left[bar]]
        colour = Colour.VOLUME_UP if values[bar] >= 0 else Colour.VOLUME_DOWN
        checked += int((column == colour).sum())
    assert checked > 200


TRADE = TradeMark(
    entry_ts_ns=MONDAY_NS + 5 * MINUTE_NS,
    exit_ts_ns=MONDAY_NS + 15 * MINUTE_NS,
    side="long",
    entry_price=1.1010,
    exit_price=1.1040,
    stop_price=1.0970,
    target_price=1.1060,
)


def test_trade_marks_lie_at_their_bars_and_prices() -> None:
    low, high = 1.0950, 1.1150
    image = pixels(bars_of(FIVE), ChartSpec(price_low=low, price_high=high), trades=[TRADE])
    left, right = (LEFT + (2 * bar + 1) * 1104 // 10 for bar in (1, 3))
    for price, colour in ((1.0970, Colour.STOP), (1.1060, Colour.TARGET)):
        row = row_of(price, low, high, PRICE_TOP, 771)
        columns = np.flatnonzero(image[row] == colour)
        assert columns[0] == left
        assert right - 8 < columns[-1] <= right
        zone = Colour.PROFIT if colour == Colour.TARGET else Colour.LOSS
        entry = row_of(1.1010, low, high, PRICE_TOP, 771)
        rows = sorted((row, entry))
        assert set(np.flatnonzero((image == zone).any(axis=1))) <= set(range(rows[0], rows[1] + 1))
    assert image[row_of(1.1040, low, high, PRICE_TOP, 771), right] == Colour.TEXT
    low_row = row_of(1.0990, low, high, PRICE_TOP, 771)
    arrow = np.argwhere(image[PRICE_TOP:772] == Colour.LONG)
    arrow[:, 0] += PRICE_TOP
    below = arrow[np.abs(arrow[:, 1] - left) <= 6]
    assert low_row + 4 in below[:, 0]
    assert image[low_row + 13, left] == Colour.LONG


def test_a_stop_that_moved_is_drawn_where_it_lay() -> None:
    low, high = 1.0950, 1.1150
    known = {name: getattr(TRADE, name) for name in TradeMark.__struct_fields__}
    later = MONDAY_NS + 20 * MINUTE_NS
    moves = (StopMove(ts_ns=MONDAY_NS + 10 * MINUTE_NS, price=1.1030), StopMove(ts_ns=later, price=1.1090))
    image = pixels(
        bars_of(FIVE),
        ChartSpec(price_low=low, price_high=high),
        trades=[FollowedTrade(**known, stop_moves=moves)],
    )
    entry, third, leave = (LEFT + (2 * bar + 1) * 1104 // 10 for bar in (1, 2, 3))
    moved = entry + (third - entry) // 2
    rows = [row_of(price, low, high, PRICE_TOP, 771) for price in (1.0970, 1.1030, 1.1090)]
    first, second, behind = (np.flatnonzero(image[row] == Colour.STOP) for row in rows)
    assert (first[0], first[-1]) == (entry, moved)
    assert second[0] == moved
    assert leave - 8 < second[-1] <= leave
    assert behind.size == 0, "what moves after the exit is not drawn"
    # The way from entry to exit crosses it.
    assert (image[rows[1] : rows[0], moved] == Colour.STOP).mean() > 0.9
    loss = np.flatnonzero((image == Colour.LOSS).any(axis=0))
    assert loss[-1] <= moved, "a stop beyond the entry risks nothing"


def test_trades_outside_the_window_leave_nothing() -> None:
    bars = random_walk_bars(400, seed=6, timeframe="5m")
    chart = PreparedChart(bars, ChartSpec())
    early = replace_times(TRADE, bars, 3, 20)
    late = replace_times(TRADE, bars, 350, 360)
    assert chart.render(100, 300, trades=[early, late]) == chart.render(100, 300)
    across = replace_times(TRADE, bars, 50, 150)
    assert chart.render(100, 300, trades=[across]) != chart.render(100, 300)


def replace_times(trade: TradeMark, bars: BarArrays, entry: int, leave: int) -> TradeMark:
    from msgspec.structs import replace as with_fields

    price = float(bars.close[entry])
    return with_fields(
        trade,
        entry_ts_ns=int(bars.ts_open_ns[entry]),
        exit_ts_ns=int(bars.ts_open_ns[leave]),
        entry_price=price,
        exit_price=float(bars.close[leave]),
        stop_price=price - 0.001,
        target_price=price + 0.001,
    )


def test_an_open_trade_runs_to_the_edge() -> None:
    trade = TradeMark(entry_ts_ns=TRADE.entry_ts_ns, side="short", entry_price=1.1010, stop_price=1.1050)
    image = pixels(bars_of(FIVE), ChartSpec(price_low=1.095, price_high=1.115), trades=[trade])
    assert np.flatnonzero((image == Colour.LOSS).any(axis=0))[-1] == 1115


def test_gaps_in_time_are_marked_and_small_ones_are_not() -> None:
    def has_mark(missing: int) -> bool:
        image = pixels(bars_of(FIVE, gaps={3: missing}), ChartSpec(price_low=1.095, price_high=1.115))
        centres = [LEFT + (2 * bar + 1) * 1104 // 10 for bar in (2, 3)]
        return bool((image[PRICE_TOP:700, sum(centres) // 2] == Colour.BREAK).any())

    assert has_mark(600)
    assert not has_mark(5)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_same_input_same_bytes(name: str) -> None:
    bars = random_walk_bars(300, seed=9, timeframe="5m")
    spec = ChartSpec(
        theme=name, overlays=(parse_plot("bollinger"),), panes=(parse_plot("macd"), parse_plot("rsi"))
    )
    chart = PreparedChart(bars, spec)
    png = chart.render(100, 300)
    assert png == chart.render(100, 300)
    assert png == pickle.loads(pickle.dumps(chart)).render(100, 300)
    assert png == PreparedChart(bars, spec).render(100, 300)
    assert png != chart.render(99, 299)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_pixels_of_a_chart_are_known(name: str) -> None:
    # Holds on every machine.  A wanted change of the drawing changes it: look at the chart, then renew it.
    overlays = {"level": np.linspace(1.0985, 1.1050, 5)}
    spec = ChartSpec(theme=name, width=800, height=500)
    png = render_chart(bars_of(FIVE, volume=7.0, gaps={3: 600}), spec, overlays=overlays, trades=[TRADE])
    image, palette = decode_png(png)
    assert image.shape == (500, 800)
    assert hashlib.sha256(image.tobytes() + palette.tobytes()).hexdigest() == KNOWN[name]


def test_synthetic_data_say_so() -> None:
    spec = ChartSpec(title="anything")
    marked = pixels(bars_of(FIVE, synthetic=True), spec)
    assert find_text(marked[:40], "SYNTHETIC", Colour.TAG_TEXT, Colour.BADGE)
    assert not (pixels(bars_of(FIVE), spec)[:40] == Colour.BADGE).any()


@pytest.mark.parametrize("n_bars", [1, 2, 276, 277, 368, 369, 552, 1104])
def test_every_number_of_bars_draws_every_bar(n_bars: int) -> None:
    bars = random_walk_bars(n_bars, seed=2, flat_share=0.0)
    chart = PreparedChart(bars, ChartSpec(volume=False))
    image, scale = chart.draw(), chart.layout()
    rows = scale.price.rows(bars.close)
    shown = image[rows, scale.bars.centres]
    assert np.isin(shown, [Colour.UP, Colour.DOWN, Colour.FLAT]).all()


def test_flat_and_extreme_bars() -> None:
    flat = [(1.2, 1.2, 1.2, 1.2)] * 20
    scale = PreparedChart(bars_of(flat), ChartSpec()).layout().price
    assert scale.low < 1.2 < scale.high
    assert (pixels(bars_of(flat), ChartSpec()) == Colour.FLAT).any()
    extreme = [*FIVE, (1.1100, 9.0, 0.001, 1.1100)]
    image = pixels(bars_of(extreme), ChartSpec())
    column = image[PRICE_TOP:772, LEFT + 11 * 1104 // 12]
    assert (column == Colour.FLAT).sum() > 600


def test_bars_beyond_a_fixed_range_end_at_its_edge() -> None:
    image = pixels(bars_of(FIVE), ChartSpec(price_low=1.1000, price_high=1.1030))
    outside = np.concatenate((image[:55, LEFT:1116].ravel(), image[773:, LEFT:1116].ravel()))
    assert not np.isin(outside, [Colour.UP, Colour.DOWN]).any()
    assert image[PRICE_TOP, LEFT + 9 * 1104 // 10] == Colour.UP


def test_full_ink_covers_everything() -> None:
    for ink in LINE_INKS:
        assert (mixing_table(ink)[FULL] == ink).all()


def test_mid_prices_have_a_further_decimal() -> None:
    image = pixels(bars_of([(1.100005, 1.100005, 1.100005, 1.100005)], price="mid"), ChartSpec())
    assert find_text(image[:56], "1.100005", Colour.TEXT)


# --- bad input --------------------------------------------------------------------------------------------


def test_empty_bars_are_refused() -> None:
    with pytest.raises(DataError, match="at least one bar"):
        render_chart(random_walk_bars(5, seed=1).slice(2, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("open", math.nan),
        ("high", math.inf),
        ("high", 1.0),
        ("low", 2.0),
        ("volume", math.nan),
        ("volume", -1.0),
    ],
)
def test_broken_bars_are_refused(field: str, value: float) -> None:
    bars = bars_of(FIVE, volume=5.0)
    column = getattr(bars, field).copy()
    column[3] = value
    with pytest.raises(DataError, match="Bars must be finite, in order of time") as caught:
        render_chart(replace(bars, **{field: column}))
    assert caught.value.row == 3


def test_bars_out_of_order_are_refused() -> None:
    bars = bars_of(FIVE)
    with pytest.raises(DataError, match="in order of time"):
        render_chart(replace(bars, ts_open_ns=bars.ts_open_ns[::-1].copy()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([math.nan] * 5, "is nan at bar 0"),
        ([1.1, math.nan, 1.1, 1.1, 1.1], "is nan at bar 1"),
        ([1.1, 1.1, 1.1, 1.1, math.inf], "is inf at bar 4"),
        ([math.inf, 1.1, 1.1, 1.1, 1.1], "is inf at bar 0"),
        ([1.1, 1.1], "one value per bar"),
    ],
)
def test_broken_overlays_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        render_chart(bars_of(FIVE), overlays={"x": np.array(values)})


def test_too_many_bars_are_refused() -> None:
    with pytest.raises(ConfigError, match="1105 bars do not fit into 1104 columns"):
        render_chart(random_walk_bars(1105, seed=1))


def test_too_many_overlays_and_too_low_a_chart_are_refused() -> None:
    bars = bars_of(FIVE)
    level = np.full(5, 1.1)
    with pytest.raises(ConfigError, match="at most 4 overlays, but got 5"):
        PreparedChart(bars, ChartSpec(), overlays={str(number): level for number in range(5)})
    with pytest.raises(ConfigError, match="must leave 120 rows for prices"):
        PreparedChart(bars, ChartSpec(height=320, panes=tuple(map(parse_plot, ("rsi", "macd", "atr")))))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 3), (4, 2), (0, 6)])
def test_windows_outside_the_bars_are_refused(start: int, stop: int) -> None:
    with pytest.raises(ConfigError, match=r"0 <= start < stop <= 5"):
        PreparedChart(bars_of(FIVE), ChartSpec()).render(start, stop)


def test_a_fixed_end_beyond_the_bars_is_refused() -> None:
    with pytest.raises(ConfigError, match="must have `low < high`"):
        render_chart(bars_of(FIVE), ChartSpec(price_low=2.0))
