// The rules of routes, for the sample mode. They are those of crates/domain (route.rs, bulk.rs), and
// fixtures/console-vectors holds both to the same cases.

export const normalised = (text) => String(text).trim().toLowerCase().replaceAll('-', '_');
const caseless = (text) => [...String(text)].map((letter) => letter.toLowerCase()).join('').replaceAll('ς', 'σ');

/// What an acknowledgement that says `said` does to a route in `state`: `change`, `repeat` or `final`.
export function on(state, said) {
  if (state === said) return 'repeat';
  return state === 'resolved' ? 'final' : 'change';
}

export const isBreached = (state, deadline, now) => (state === 'outstanding' || state === 'escalated') && now >= deadline;
export const deadline = (route) => Date.parse(route.created_at) + route.acknowledgement_minutes * 60000;

/// The state of a route; null for a suppressed one, which waits for nothing.
export const stateOf = (route) => (route.action === 'deliver' ? route.state || 'outstanding' : null);
export const breached = (route, now) => stateOf(route) !== null && isBreached(stateOf(route), deadline(route), now);

/// The first term that leaves the route out, in the order of the service; null when the filter means it.
export function leftOutBy(filter, route, now) {
  const tests = [
    ['schedule_id', () => filter.schedule_id.trim() === route.schedule_id],
    ['owner', () => caseless(`${route.owner}\u001f${route.escalation_owner || ''}`).includes(caseless(filter.owner.trim()))],
    ['provider', () => normalised(filter.provider) === normalised(route.provider)],
    ['state', () => stateOf(route) === normalised(filter.state)],
    ['action', () => route.action === normalised(filter.action)],
    ['category', () => route.category === normalised(filter.category)],
    ['breached', () => filter.breached === breached(route, now)],
  ];
  for (const [term, holds] of tests) {
    const value = filter[term];
    const given = typeof value === 'boolean' || (typeof value === 'string' && value.trim() !== '');
    if (given && !holds()) return term;
  }
  return null;
}

/// The counts of a set of routes. The five states add up to `route_count`.
export function counts(routes, now) {
  const all = { route_count: 0, outstanding_count: 0, acknowledged_count: 0, escalated_count: 0, dismissed_count: 0, resolved_count: 0, breached_count: 0, suppressed_count: 0 };
  for (const route of routes) {
    const state = stateOf(route);
    if (state === null) { all.suppressed_count += 1; continue; }
    all.route_count += 1;
    all[`${state}_count`] += 1;
    if (breached(route, now)) all.breached_count += 1;
  }
  return all;
}

export function level(all) {
  if (all.breached_count > 0 || all.escalated_count > 0) return 'critical';
  return all.outstanding_count > 0 ? 'warning' : 'healthy';
}

/// What a bulk does to one route.
export function outcome(route, said) {
  const state = stateOf(route);
  if (state === null) return { outcome: 'refused', reason: 'suppressed', state: '' };
  const step = on(state, said);
  if (step === 'change') return { outcome: 'changed', reason: '', state: said };
  if (step === 'repeat') return { outcome: 'already', reason: 'already_in_state', state };
  return { outcome: 'refused', reason: 'resolved_is_final', state };
}
