// Runs the transformations of panels through Grafana's own engine, `@grafana/data`.
//
// Standard input: {"engine": file, "panels": [{"targets": [{"refId", "format", "result"}], "transformations": [...]}]},
// `result` being what Prometheus answered to an instant query. Standard output: for each panel its frames, each a list of
// columns {"name", "type", "values"}. Frames are made as Grafana's Prometheus data source makes them of such answers.
'use strict';

const { readFileSync } = require('node:fs');

const asked = JSON.parse(readFileSync(0, 'utf8'));
const {
  FieldType, firstValueFrom, getFieldDisplayName, standardTransformers, standardTransformersRegistry, toDataFrame,
  transformDataFrame,
} = require(asked.engine);

// It looks there to find out in which part of Grafana it runs; some of what it loads takes it for a browser, so not before.
globalThis.window = globalThis;
// Some stand there twice, under a former name too.
const transformers = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((transformation) => ({
    id: transformation.id, name: transformation.name, transformation: async () => transformation, editor: () => null, imageDark: '', imageLight: '',
  })));

// A frame a query: a row a series, a column a label.
function table({ refId, result }, ofSeveral) {
  const labels = [...new Set(result.flatMap((series) => Object.keys(series.metric)))].sort();
  const name = ofSeveral ? `Value #${refId}` : 'Value';
  return toDataFrame({
    refId,
    meta: { type: 'table' },
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map((series) => series.value[0] * 1000) },
      ...labels.map((label) => ({
        name: label, type: FieldType.string, config: { filterable: true },
        values: result.map((series) => series.metric[label] ?? ''),
      })),
      {
        name, type: FieldType.number, config: { displayNameFromDS: name },
        values: result.map((series) => parse(series.value[1])),
      },
    ],
  });
}

// A frame a series, of its one value.
function series({ refId }, { metric, value }) {
  return toDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: [value[0] * 1000] },
      { name: 'Value', type: FieldType.number, labels: metric, values: [parse(value[1])] },
    ],
  });
}

function parse(text) {
  return { '+Inf': Infinity, '-Inf': -Infinity }[text] ?? Number(text);
}

function frames(targets) {
  const tables = targets.filter((each) => each.format === 'table');
  return targets.flatMap((each) => (each.format === 'table' && each.result.length > 0
    ? [table(each, tables.length > 1)]
    : each.format === 'table' ? [] : each.result.map((one) => series(each, one))));
}

async function run({ targets, transformations }) {
  const found = await firstValueFrom(transformDataFrame(transformations ?? [], frames(targets)));
  return found.map((frame) => frame.fields.map((field) => ({
    name: getFieldDisplayName(field, frame, found), type: field.type,
    values: [...field.values].map((value) => (Number.isFinite(value) || typeof value !== 'number' ? value : String(value))),
  })));
}

Promise.all(asked.panels.map(run)).then((found) => process.stdout.write(JSON.stringify(found)));
