// The rules of the page's sample mode, held to the cases that the domain answers in crates/console/tests/vectors.rs.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const file = JSON.parse(readFileSync(`${process.env.ROOT}/fixtures/console-vectors/rules.json`, 'utf8'));
// The page's modules have no package around them, so they are read as what they are.
const source = readFileSync(`${process.env.ROOT}/crates/console/page/assets/rules.js`, 'utf8');
const rules = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const now = Date.parse(file.now);
const { SampleApi } = await import(`${process.env.ROOT}/crates/console/page/assets/sample.js`);
const B = '/runtime/go-pilot/rollback-drill-notifications';
/// The sample as the page has it, over the routes of the cases and at their time.
function sampleOf() {
  const api = new SampleApi(now, () => now);
  api.routes = file.routes.map((route) => ({ plan_id: 'plan', reason: '', revision: 0, answers: [], ...route, state: route.action === 'deliver' ? route.state || 'outstanding' : null }));
  return api;
}

test('every acknowledgement does to every state what it does in the domain', () => {
  assert.equal(file.transitions.length, 20);
  for (const { state, said, does } of file.transitions) assert.equal(rules.on(state, said), does, `${state} ${said}`);
});

test('the deadline is part of the time that is over', () => {
  assert.equal(file.breaches.length, 15);
  for (const one of file.breaches) assert.equal(rules.isBreached(one.state, now, now + one.milliseconds_after_deadline), one.breached, JSON.stringify(one));
});

test('every filter means the same routes, with the same counts and the same level', () => {
  assert.ok(file.filters.length > 20);
  for (const { filter, answer } of file.filters) {
    for (const route of file.routes) assert.equal(rules.leftOutBy(filter, route, now), answer.left_out_by[route.route_id], `${JSON.stringify(filter)} ${route.route_id}`);
    const meant = file.routes.filter((route) => rules.leftOutBy(filter, route, now) === null);
    const counts = rules.counts(meant, now);
    assert.deepEqual(counts, answer.counts, JSON.stringify(filter));
    assert.equal(rules.level(counts), answer.level);
  }
});

test('every bulk has the same outcome on every route', () => {
  assert.ok(file.bulks.length > 10);
  for (const { filter, said, everything, answer } of file.bulks) {
    const meant = file.routes.filter((route) => everything || rules.leftOutBy({ action: 'deliver', ...filter }, route, now) === null);
    assert.deepEqual(meant.map((route) => ({ route_id: route.route_id, ...rules.outcome(route, said) })), answer, `${JSON.stringify(filter)} ${said}`);
  }
});

test('what the sample does to routes is what the domain does: bulks, previews and undo', async () => {
  for (const { filter, said, everything, answer } of file.bulks) {
    if (everything) continue;
    const api = sampleOf();
    const before = api.routes.map((route) => route.state);
    const of = (given) => given.outcomes.map(({ outcome, reason, state }) => ({ outcome, reason, state }));
    const wanted = answer.map(({ outcome, reason, state }) => ({ outcome, reason, state }));
    const body = { filter, acknowledgement_state: said, mode: 'best_effort', acknowledged_by: 'ana' };
    const preview = await api.post(`${B}/acknowledgements/bulk`, { ...body, dry_run: true });
    assert.deepEqual(of(preview), wanted);
    assert.deepEqual(api.routes.map((route) => route.state), before, 'a preview changes nothing');
    const done = await api.post(`${B}/acknowledgements/bulk`, { ...body, expected_digest: preview.selection_digest }, 'one');
    assert.deepEqual(of(done), wanted);
    const changed = new Set(answer.filter((one) => one.outcome === 'changed').map((one) => one.route_id));
    api.routes.forEach((route, index) => assert.equal(route.state, changed.has(route.route_id) ? said : before[index], route.route_id));
    // The same intent again is the same answer, and a preview that is out of date is refused.
    assert.deepEqual(await api.post(`${B}/acknowledgements/bulk`, body, 'one'), done);
    if (changed.size) await assert.rejects(api.post(`${B}/acknowledgements/bulk`, { ...body, expected_digest: preview.selection_digest }), { status: 409, code: 'selection_changed' });
    const undone = await api.post(`${B}/acknowledgements/bulk/${done.bulk_id}/undo`, { reason: 'a mistake', undone_by: 'ana' });
    assert.equal(undone.changed_count, changed.size);
  }
});

test('what the sample packs is what the domain packs, and it says that it is a sample', async () => {
  assert.ok(file.packages.length > 10);
  for (const { filter, answer } of file.packages) {
    const made = (await sampleOf().post(`${B}/acknowledgements/audit-package`, { ...filter, generated_by: 'ana' })).audit_package;
    const { route_count, outstanding_count, breached_count, suppressed_count, alert_level, population } = made;
    assert.deepEqual({ routes: made.routes.map((route) => route.route_id), population, route_count, outstanding_count, breached_count, suppressed_count, alert_level }, answer, JSON.stringify(filter));
    assert.match(made.sample, /It is no evidence/);
    assert.match(made.audit_id, /^sample-/);
  }
});
