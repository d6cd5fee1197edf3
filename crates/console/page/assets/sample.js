// The sample: the same questions, answered in this browser from invented data by the same rules. It never talks to a
// network, and the page is started anew to enter and to leave it, so nothing of it can mix with anything real.
import { B, Refused, intent } from './api.js';
import { KIND } from './format.js';
import { breached, counts, deadline, leftOutBy, level, normalised, outcome, stateOf } from './rules.js';
import { sampleRoutes } from './sample-data.js';

const TERMS = ['schedule_id', 'owner', 'provider', 'state', 'action', 'category', 'breached'];
const NOTE = 'Made by the sample mode of the console from invented data. It is no evidence.';
const LISTED = { deadline, urgency: (r) => (['outstanding', 'escalated'].includes(stateOf(r)) ? 0 : 1e15) + deadline(r), owner: (r) => r.owner.toLowerCase(), provider: (r) => normalised(r.provider), schedule_id: (r) => r.schedule_id, newest: (r) => -Date.parse(r.created_at) };

const refuse = (status, code, detail, more = {}) => { throw new Refused(status, { code, detail, request_id: 'sample', ...more }); };
const iso = (ms) => new Date(ms).toISOString();

export class SampleApi {
  constructor(begin = Date.now(), clock = () => Date.now()) {
    Object.assign(this, { clock, begin, routes: sampleRoutes(begin), records: [], kept: new Map(), number: 0, base: '' });
    for (const route of this.routes) for (const answer of route.answers) this.records.push(this.ackRecord(route, answer));
    const plans = new Set(this.routes.map((route) => route.plan_id));
    for (const plan of plans) {
      const route = this.routes.find((one) => one.plan_id === plan);
      this.records.push({ session_id: plan, metadata_kind: KIND.plan, created_at: route.created_at, plan_id: plan, schedule_id: route.schedule_id, signer: 'release-governance', selected_providers: [...new Set(this.routes.filter((one) => one.plan_id === plan).map((one) => one.provider))] });
    }
  }

  url(path) { return path; }

  id(prefix) { this.number += 1; return `sample-${prefix}-${this.number}`; }

  filterOf(query) {
    const filter = {};
    for (const term of TERMS) {
      const value = query[term];
      if (value === '' || value === null || value === undefined) continue;
      filter[term] = term === 'breached' ? value === true || value === 'true' : value;
    }
    return filter;
  }

  meant(filter) {
    const now = this.clock();
    return this.routes.filter((route) => leftOutBy(filter, route, now) === null);
  }

  row(route) {
    const now = this.clock();
    const answer = route.answers.at(-1);
    const state = stateOf(route) ?? 'not_required';
    return {
      ...route, answers: undefined, state: undefined, acknowledgement_state: state, acknowledged: state === 'acknowledged' || state === 'resolved', breached: breached(route, now),
      age_minutes: (now - Date.parse(route.created_at)) / 60000, deadline_at: iso(deadline(route)), acknowledged_by: answer?.by || '', acknowledged_at: answer?.at || '', external_ref: answer?.external_ref || '', notes: answer?.notes || '', current: true,
    };
  }

  ackRecord(route, answer) {
    const acknowledgement = { acknowledgement_id: answer.id, schedule_id: route.schedule_id, plan_id: route.plan_id, provider: route.provider, owner: route.owner, acknowledged_by: answer.by, acknowledgement_state: answer.state, acknowledged_at: answer.at, external_ref: answer.external_ref, notes: answer.notes, ...(answer.bulk ? { bulk_id: answer.bulk } : {}) };
    return { session_id: answer.id, metadata_kind: KIND.ack, created_at: answer.at, schedule_id: route.schedule_id, plan_id: route.plan_id, provider: route.provider, acknowledgement_state: answer.state, signer: answer.by, acknowledgement };
  }

  async get(path, query = {}) {
    const rest = path.startsWith(B) ? path.slice(B.length) : path;
    if (rest === '/console/session') return { mode: 'sample', authenticated: false, auth_required: false, actor: null, permissions: new Proxy({}, { get: () => true }) };
    if (rest === '/console/config') return { metadata_mode: 'sample' };
    if (rest === '/dashboard') return this.dashboard();
    if (rest === '/routes') return this.list(query);
    if (rest === '/routes/summary') return this.summary(query);
    if (rest === '/routes/trend') return this.trend(query);
    if (rest === '') return this.history(query);
    const [, audit] = /^\/acknowledgements\/audit-packages\/(.+)$/.exec(rest) || [];
    const kept = audit && this.records.find((one) => one.audit_id === decodeURIComponent(audit));
    if (kept) return kept.$whole;
    return refuse(404, 'not_found', rest.includes('archive') || rest.includes('auditor') ? 'The sample has no exports, deliveries or archive references. Connect to an API to see them.' : 'The sample has no such thing.');
  }

  async raw(path) { return JSON.stringify(await this.get(path), null, 2); }

  dashboard() {
    const all = counts(this.routes, this.clock());
    const kind = (name) => this.records.filter((one) => one.metadata_kind === name).length;
    return {
      generated_at: iso(this.clock()), alert_level: level(all), plan_count: kind(KIND.plan), acknowledgement_count: kind(KIND.ack), bulk_acknowledgement_count: kind(KIND.bulk), failed_delivery_count: 0, acknowledgement_audit_package_count: kind(KIND.package),
      route_count: all.route_count, outstanding_acknowledgement_count: all.outstanding_count, acknowledged_route_count: all.acknowledged_count, escalated_route_count: all.escalated_count, dismissed_route_count: all.dismissed_count, resolved_route_count: all.resolved_count, breached_route_count: all.breached_count, suppressed_route_count: all.suppressed_count, orphaned_acknowledgement_count: 0,
    };
  }

  list(query) {
    const found = this.meant(this.filterOf(query));
    const sort = String(query.sort || 'newest');
    const key = LISTED[sort.replace(/^-/, '')];
    const turn = sort.startsWith('-') ? -1 : 1;
    found.sort((a, b) => { const [x, y] = [key(a), key(b)]; return turn * (x < y ? -1 : x > y ? 1 : a.route_id < b.route_id ? -1 : 1); });
    const [limit, offset] = [Number(query.limit || 50), Number(query.offset || 0)];
    return { items: found.slice(offset, offset + limit).map((route) => this.row(route)), total: found.length, counts: counts(found, this.clock()), generated_at: iso(this.clock()), limit, offset, next_cursor: null };
  }

  summary(query) {
    const now = this.clock();
    const found = this.meant(this.filterOf(query));
    const by = query.by || 'owner';
    const groups = [...new Set(found.map((route) => route[by]))].map((value) => ({ value, ...counts(found.filter((route) => route[by] === value), now) }));
    groups.sort((a, b) => b.breached_count - a.breached_count || b.outstanding_count - a.outstanding_count || (a.value < b.value ? -1 : 1));
    const limit = Number(query.limit || 50);
    const all = counts(found, now);
    return { generated_at: iso(now), alert_level: level(all), counts: all, by, groups: groups.slice(0, limit), omitted_group_count: Math.max(0, groups.length - limit) };
  }

  trend(query) {
    const [hours, points] = [Number(query.hours || 24), Number(query.points || 25)];
    const now = this.clock();
    const at = Array.from({ length: points }, (_, index) => now - (hours * 3600000 * (points - 1 - index)) / (points - 1));
    return { points: at.map((time) => ({ at: iso(time), ...counts(this.routes.filter((route) => Date.parse(route.created_at) <= time).map((route) => ({ ...route, state: route.state && (route.answers.filter((answer) => Date.parse(answer.at) <= time).at(-1)?.state || 'outstanding') })), time) })) };
  }

  history(query) {
    const found = this.records.filter((one) => !query.orphaned && (!query.metadata_kind || one.metadata_kind === query.metadata_kind) && (!query.schedule_id || one.schedule_id === query.schedule_id)
      && (!query.provider || normalised(one.provider || '') === normalised(query.provider) || (one.selected_providers || []).includes(query.provider)))
      .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
    return { items: found.slice(0, Number(query.limit || 50)).map(({ $whole, ...one }) => one), total: found.length, next_cursor: null };
  }

  async post(path, body, key) {
    const known = key && this.kept.get(key);
    if (known) return structuredClone(known);
    const answer = this.write(path.slice(B.length), body);
    if (key) this.kept.set(key, structuredClone(answer));
    return answer;
  }

  write(rest, body) {
    if (rest === '/acknowledgements/bulk') return this.bulk(body);
    if (rest === '/acknowledgements/audit-package') return this.pack(body);
    const [, bulkId] = /^\/acknowledgements\/bulk\/(.+)\/undo$/.exec(rest) || [];
    if (bulkId) return this.undo((answer) => answer.bulk === decodeURIComponent(bulkId), body, bulkId);
    const [, ackId] = /^\/acknowledgements\/(.+)\/undo$/.exec(rest) || [];
    if (ackId) return this.undo((answer) => answer.id === decodeURIComponent(ackId), body, null);
    const [, schedule] = /^\/([^/]+)\/acknowledgements$/.exec(rest) || [];
    if (schedule) return this.acknowledge(decodeURIComponent(schedule), body);
    return refuse(404, 'not_found', 'The sample cannot do that. Connect to an API.');
  }

  digest(routes) { return `sha256:${routes.map((route) => `${route.route_id}.${route.revision}`).join('|').split('').reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) >>> 0, 7).toString(16).padStart(64, '0')}`; }

  answer(route, said, body, bulk) {
    route.state = said;
    route.revision += 1;
    const answer = { id: this.id('ack'), state: said, by: body.acknowledged_by || 'somebody', at: iso(this.clock()), external_ref: body.external_ref || '', notes: body.notes || '', bulk };
    route.answers.push(answer);
    this.records.push(this.ackRecord(route, answer));
    return answer;
  }

  bulk(body) {
    const said = body.acknowledgement_state || 'acknowledged';
    const found = this.meant({ action: 'deliver', ...this.filterOf(body.filter) });
    const digest = this.digest(found);
    if (body.expected_digest && body.expected_digest !== digest) refuse(409, 'selection_changed', 'the selection is not what the preview showed, so nothing was changed', { difference: { selection_digest: digest } });
    const bulkId = this.id('bulk');
    const outcomes = found.map((route) => {
      const previous_state = stateOf(route);
      const result = outcome(route, said);
      const made = !body.dry_run && result.outcome === 'changed' ? this.answer(route, said, body, bulkId) : null;
      return { schedule_id: route.schedule_id, provider: route.provider, owner: route.owner, plan_id: route.plan_id, previous_state, ...result, acknowledgement_id: made?.id || '' };
    });
    const count = (name) => outcomes.filter((one) => one.outcome === name).length;
    const answer = { bulk_id: bulkId, acknowledgement_state: said, mode: body.mode, dry_run: Boolean(body.dry_run), selection_digest: digest, matched_count: found.length, changed_count: count('changed'), already_count: count('already'), refused_count: count('refused'), not_found_count: 0, acknowledgement_count: count('changed'), outcomes };
    if (!body.dry_run) this.records.push({ session_id: bulkId, bulk_id: bulkId, metadata_kind: KIND.bulk, created_at: iso(this.clock()), signer: body.acknowledged_by, acknowledgement_state: said, changed_count: answer.changed_count, bulk_acknowledgement: { changed_count: answer.changed_count, matched_count: answer.matched_count, external_ref: body.external_ref || '', filter: body.filter } });
    return answer;
  }

  acknowledge(schedule, body) {
    const route = this.routes.find((one) => one.schedule_id === schedule && one.provider === body.provider && one.owner === body.owner);
    if (!route) refuse(404, 'unknown_reference', 'there is no such route');
    const result = outcome(route, body.acknowledgement_state);
    if (result.outcome === 'refused') refuse(409, 'route_refused', `the route is ${stateOf(route)}, and that is final`);
    return { acknowledgement: this.answer(route, body.acknowledgement_state, body, null) };
  }

  undo(mine, body, bulkId) {
    const outcomes = [];
    for (const route of this.routes.filter((one) => one.answers.some(mine))) {
      const previous_state = route.state;
      const stands = mine(route.answers.at(-1));
      if (stands) {
        const undone = route.answers.pop();
        route.state = route.answers.at(-1)?.state || 'outstanding';
        route.revision += 1;
        const id = this.id('undo');
        this.records.push({ session_id: id, metadata_kind: `${KIND.ack}-undo`, created_at: iso(this.clock()), schedule_id: route.schedule_id, plan_id: route.plan_id, provider: route.provider, acknowledgement_state: 'undone', signer: body.undone_by, acknowledgement_undo: { owner: route.owner, undone_state: undone.state, undone_by: body.undone_by, undone_at: iso(this.clock()), reason: body.reason } });
      }
      outcomes.push({ schedule_id: route.schedule_id, provider: route.provider, owner: route.owner, plan_id: route.plan_id, previous_state, state: route.state, outcome: stands ? 'changed' : 'refused', reason: stands ? '' : 'changed_since', acknowledgement_id: '' });
    }
    const count = (name) => outcomes.filter((one) => one.outcome === name).length;
    return { bulk_id: bulkId, changed_count: count('changed'), already_count: 0, refused_count: count('refused'), not_found_count: 0, matched_count: outcomes.length, outcomes };
  }

  pack(body) {
    const now = this.clock();
    const filter = { action: 'deliver', ...this.filterOf(body) };
    const left_out = Object.fromEntries(TERMS.map((term) => [term, 0]));
    const routes = this.routes.filter((route) => { const term = leftOutBy(filter, route, now); if (term) left_out[term] += 1; return term === null; });
    const all = counts(routes, now);
    const auditId = `sample-${intent()}`;
    const made = {
      sample: NOTE, schema_version: 'cavra.go-backend-pilot.rollback-drill-acknowledgement-audit-package.v1', product: 'CAVRA', audit_id: auditId, generated_at: iso(now), generated_by: body.generated_by || 'somebody', filters: filter,
      ...all, acknowledgement_count: routes.reduce((sum, route) => sum + route.answers.length, 0), alert_level: level(all), population: { known: this.routes.length, matched: routes.length, left_out }, controls: ['sample-data-is-no-evidence'],
      routes: routes.map((route) => {
        const row = this.row(route);
        return { route_id: row.route_id, schedule_id: row.schedule_id, plan_id: row.plan_id, provider: row.provider, owner: row.owner, escalation_owner: row.escalation_owner, route_action: row.action, category: row.category, acknowledgement_state: row.acknowledgement_state, acknowledged: row.acknowledged, acknowledged_by: row.acknowledged_by, acknowledged_at: row.acknowledged_at, external_ref: row.external_ref, notes: row.notes, breached: row.breached, age_minutes: row.age_minutes, acknowledgement_minutes: row.acknowledgement_minutes, revision: row.revision, acknowledgements: route.answers };
      }),
    };
    const { routes: _, ...summary } = made;
    this.records.push({ session_id: auditId, audit_id: auditId, metadata_kind: KIND.package, created_at: made.generated_at, signer: made.generated_by, alert_level: made.alert_level, acknowledgement_audit_package: summary, $whole: made });
    return { audit_package: made, metadata: { acknowledgement_audit_package: summary } };
  }
}
