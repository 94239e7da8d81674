// Draws panels with Grafana's own components and the options of our dashboards: what the manual's pictures are made of.
// It is not Grafana: the plugins through which Grafana calls these components are in no package.
// Not by `import`: as ES modules they take a CommonJS default for what it is not.
const { FieldType, ThemeContext, createTheme, dateTime, getDisplayProcessor, toDataFrame } = require('@grafana/data');
const {
  AxisPlacement, BarGaugeDisplayMode, BigValueColorMode, BigValueGraphMode, BigValueTextMode, GraphDrawStyle,
  LegendDisplayMode, ScaleDirection, ScaleDistribution, ScaleOrientation, StackingMode, VisibilityMode, VizOrientation,
} = require('@grafana/schema');
const {
  BarGauge, BigValue, GlobalStyles, PanelChrome, Table, TimeSeries, UPlotChart, UPlotConfigBuilder,
} = require('@grafana/ui');
const { createElement: h } = require('react');
const { createRoot } = require('react-dom/client');
require('uplot/dist/uPlot.min.css');

const { panels, width, mode, from, to } = window.asked;
const theme = createTheme({ colors: { mode } });
const ROW = 30, GAP = 8;
const COLORS = theme.visualization.palette;

const color = (name) => theme.visualization.getColorByName(name);

function field(panel, name, values, type = FieldType.number) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = structuredClone(defaults);
  for (const { matcher, properties } of overrides ?? []) {
    if (matcher.options !== name) continue;
    for (const { id, value } of properties) {
      if (id.startsWith('custom.')) config.custom = { ...config.custom, [id.slice('custom.'.length)]: value };
      else config[id] = value;
    }
  }
  const made = { name, type, values, config: { ...config, displayName: name } };
  made.display = getDisplayProcessor({ field: made, theme });
  return made;
}

function Stat({ panel, width, height }) {
  const found = panel.series.length ? panel.series : [{ name: '', values: [null] }];
  const each = width / found.length;
  return h('div', { style: { display: 'flex' } }, found.map(({ name, values }) => {
    const made = field(panel, name, values);
    const value = { ...made.display(values.at(-1)) };
    if (values.at(-1) === null) value.text = panel.fieldConfig.defaults.noValue ?? 'No data';
    value.title = name;
    return h(BigValue, {
      key: name, value, width: each, height, theme, hasLinks: false, count: found.length,
      colorMode: panel.options.colorMode ?? BigValueColorMode.Value, graphMode: BigValueGraphMode.None,
      textMode: panel.options.textMode === 'name' ? BigValueTextMode.Name : BigValueTextMode.ValueAndName,
    });
  }));
}

function Bars({ panel, width, height }) {
  const each = Math.min(26, height / Math.max(1, panel.series.length));
  return h('div', null, panel.series.map(({ name, values }) => {
    const made = field(panel, name, values);
    return h(BarGauge, {
      key: name, theme, width, height: each, itemSpacing: 6, alignmentFactors: { text: '0.00', title: 'x'.repeat(24) },
      value: { ...made.display(values.at(-1)), title: name }, field: { ...made.config, max: made.config.max ?? 1 },
      display: made.display, orientation: VizOrientation.Horizontal, displayMode: BarGaugeDisplayMode.Basic,
    });
  }));
}

function Graph({ panel, width, height }) {
  const frames = panel.series.map(({ name, times, values }, index) => {
    const made = field(panel, name, values);
    made.config.color ??= { mode: 'fixed', fixedColor: COLORS[index % COLORS.length] };
    if (made.config.color.mode !== 'fixed') made.config.color = { mode: 'fixed', fixedColor: COLORS[index % COLORS.length] };
    made.config.custom = {
      drawStyle: GraphDrawStyle.Line, lineWidth: 1, fillOpacity: 0, showPoints: VisibilityMode.Never, spanNulls: false,
      axisPlacement: AxisPlacement.Auto, stacking: { mode: StackingMode.None }, ...made.config.custom,
    };
    made.display = getDisplayProcessor({ field: made, theme });
    return toDataFrame({ fields: [{ name: 'Time', type: FieldType.time, values: times, config: {} }, made] });
  });
  if (frames.length === 0) return h('div', null, 'No data');
  const range = { from: dateTime(from), to: dateTime(to) };
  return h(TimeSeries, {
    frames, width, height, timeZone: 'utc', timeRange: { ...range, raw: range }, options: {}, structureRev: 1,
    legend: { showLegend: true, displayMode: LegendDisplayMode.List, placement: 'bottom', calcs: [] },
  });
}

// Grafana's panel of this name draws with the same two components.
function Curves({ panel, width, height }) {
  const [[, levels], ...columns] = Object.entries(panel.columns);
  const made = columns.map(([name, values]) => field(panel, name, values));
  const builder = new UPlotConfigBuilder('utc');
  const log = { distribution: ScaleDistribution.Log, log: 10 };
  builder.addScale({ scaleKey: 'x', isTime: false, orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right, ...log });
  builder.addScale({ scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, ...log });
  const shown = (made) => (value) => made.display(value).text;
  const [x, y] = [field(panel, 'level', levels), made[0]];
  builder.addAxis({ scaleKey: 'x', placement: AxisPlacement.Bottom, theme, label: x.config.custom.axisLabel, isTime: false,
    grid: { show: true }, ...log, formatValue: shown(x) });
  builder.addAxis({ scaleKey: 'y', placement: AxisPlacement.Left, theme, label: y.config.custom.axisLabel,
    grid: { show: true }, ...log, formatValue: shown(y) });
  made.forEach((each) => builder.addSeries({
    scaleKey: 'y', theme, drawStyle: GraphDrawStyle.Line, lineColor: color(each.config.color.fixedColor), lineWidth: 2,
    pointColor: color(each.config.color.fixedColor), pointSize: 6, showPoints: VisibilityMode.Always, show: true,
  }));
  const legend = made.map((each) => h('span', { key: each.name, style: { marginRight: 16 } },
    h('span', { style: { color: color(each.config.color.fixedColor) } }, '━ '), each.name));
  return h('div', null,
    h(UPlotChart, { data: [levels, ...made.map(({ values }) => values)], config: builder, width, height: height - 24 }),
    h('div', { style: { fontSize: 12 } }, legend));
}

function Rows({ panel, width, height }) {
  const fields = Object.entries(panel.columns).map(([name, values]) => {
    const isNumber = values.some((value) => typeof value === 'number');
    return field(panel, name, values, isNumber ? FieldType.number : FieldType.string);
  });
  return h(Table, { data: toDataFrame({ fields }), width, height });
}

const kinds = { stat: Stat, bargauge: Bars, timeseries: Graph, xychart: Curves, table: Rows };

function Board() {
  const unit = (width - GAP) / 24;
  return h('div', { style: { position: 'relative', width, height: '100vh', background: theme.colors.background.canvas } },
    panels.map((panel) => {
      const { x, y, w, h: rows } = panel.gridPos;
      const size = { width: w * unit - GAP, height: rows * (ROW + GAP) - GAP };
      return h('div', { key: panel.id, style: { position: 'absolute', left: GAP + x * unit, top: GAP + y * (ROW + GAP) } },
        h(PanelChrome, { title: panel.title, ...size, children: (inner, high) =>
          h(kinds[panel.type], { panel, width: inner, height: high }) }));
    }));
}

createRoot(document.getElementById('board')).render(
  h(ThemeContext.Provider, { value: theme }, h(GlobalStyles), h(Board)));
