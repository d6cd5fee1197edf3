// The rules of the page's sample mode, held to the cases that the domain answers in crates/console/tests/vectors.rs.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const file = JSON.parse(readFileSync(`${process.env.ROOT}/fixtures/console-vectors/rules.json`, 'utf8'));
// The page's modules have no package around them, so they are read as what they are.
const source = readFileSync(`${process.env.ROOT}/crates/console/page/assets/rules.js`, 'utf8');
const rules = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const now = Date.parse(file.now);

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
