// Pipes answers of POST /grafana/query through Grafana's own parser. stdin: a JSON array of bodies (texts); stdout: for each,
// the frames that a panel would get, with the names that its legend would show.
const { window } = new (require('jsdom').JSDOM)('', { url: 'http://localhost/' });
Object.assign(globalThis, { window, document: window.document });
const { toDataFrame, getFieldDisplayName } = require('@grafana/data');

const parsed = JSON.parse(require('fs').readFileSync(0, 'utf8')).map((body) => {
  const frames = JSON.parse(body).map((item) => toDataFrame(item));
  return frames.map((frame) => ({
    name: frame.name,
    refId: frame.refId,
    length: frame.length,
    notices: (frame.meta?.notices ?? []).map((notice) => notice.text),
    fields: frame.fields.map((field) => ({
      name: field.name,
      type: field.type,
      labels: field.labels,
      unit: field.config.unit,
      display: getFieldDisplayName(field, frame, frames),
      values: Array.from(field.values),
    })),
  }));
});
process.stdout.write(JSON.stringify(parsed));
