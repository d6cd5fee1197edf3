// Invented routes for the sample mode. Times are relative to the moment at which the sample begins.

const SCHEDULES = [
  ['checkout-edge-weekly', 18, 15, ['slack', 'pagerduty'], ['checkout-squad', 'mobile-release'], 'head-of-commerce'],
  ['payments-ledger-monthly', 95, 60, ['slack', 'teams', 'email'], ['payments-oncall', 'release-governance'], 'head-of-payments'],
  ['search-index-weekly', 40, 60, ['slack', 'jira'], ['search-relevance', 'observability-guild', 'platform-operations'], 'head-of-search'],
  ['identity-gateway-monthly', 300, 120, ['teams', 'servicenow'], ['identity-team', 'security-operations'], 'ciso-office'],
  ['warehouse-stream-weekly', 12, 45, ['teams', 'webhook'], ['data-platform', 'platform-operations'], 'head-of-data'],
  ['feature-flags-weekly', 1500, 60, ['slack', 'email'], ['developer-experience', 'mobile-release'], 'head-of-platform'],
  ['fraud-scoring-monthly', 700, 240, ['jira', 'email'], ['risk-engineering', 'release-governance'], 'chief-risk-officer'],
];
const STATES = ['outstanding', 'acknowledged', 'outstanding', 'escalated', 'resolved', 'acknowledged', 'outstanding', 'dismissed', 'acknowledged'];
const PEOPLE = ['ana@example.org', 'bo@example.org', 'chidi@example.org', 'farid@example.org'];

export function sampleRoutes(begin) {
  const routes = [];
  let count = 0;
  for (const [schedule, age, minutes, providers, owners, escalation] of SCHEDULES) {
    for (const provider of providers) {
      for (const owner of owners) {
        count += 1;
        const suppressed = count % 8 === 0;
        const state = STATES[(count * 5) % STATES.length];
        const created = begin - age * 60000;
        const answered = !suppressed && state !== 'outstanding';
        routes.push({
          route_id: `sample-route-${String(count).padStart(3, '0')}`, plan_id: `sample-plan-${schedule}`, schedule_id: schedule, provider, owner, escalation_owner: escalation,
          created_at: new Date(created).toISOString(), acknowledgement_minutes: minutes, action: suppressed ? 'suppress' : 'deliver',
          category: suppressed ? (count % 16 === 0 ? 'maintenance_window' : 'owner_calendar') : 'deliver',
          reason: suppressed ? (count % 16 === 0 ? 'data centre move' : 'owner away until Monday') : 'the rollback drill is due soon', state: suppressed ? null : state, revision: answered ? 1 : 0,
          answers: answered ? [{ id: `sample-ack-${count}`, state, by: PEOPLE[count % PEOPLE.length], at: new Date(created + Math.min(age, minutes * 0.6) * 60000).toISOString(), external_ref: count % 3 ? `CHG-${4700 + count}` : '', notes: state === 'escalated' ? 'nobody answered' : '', bulk: null }] : [],
        });
      }
    }
  }
  return routes;
}
