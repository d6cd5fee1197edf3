// Go Rollback Drill Notifications: the routes that a filter means, and what can be done with them.
import { B } from './api.js';
import { h, still } from './dom.js';
import { ACTIONS, CATEGORIES, STATES, address, filterOf, isEmpty, narrowed, sentence, withTerm } from './filter.js';
import { KIND, due, kind, many, number, stamp, when, words } from './format.js';
import { stateBar } from './charts.js';
import { PAST, badge, barred, button, empty, icon, late, limits, table, waiting } from './widgets.js';
import { answerOne, bulk, exportPackage, showBulk, undoOne } from './bulk.js';
import { auditorExport, planAuditorRetry } from './export.js';
import { archiveHealth, archiveReference } from './archive.js';
import { lookAt } from './past.js';

const SIZES = [25, 50, 100, 200];
const SORTS = { schedule_id: 'Schedule', provider: 'Provider', owner: 'Owner', urgency: 'Time left' };
/// Known names, for the fields; whatever else is typed works as well.
let lists = null;
let listing = false;

const sortOf = (ctx) => ctx.parameters.get('sort') || 'urgency';
const sizeOf = (ctx) => SIZES.find((size) => size === Number(ctx.parameters.get('size'))) || 50;
const offsetOf = (ctx) => Math.max(0, Number(ctx.parameters.get('from')) || 0);
const filterNow = (ctx) => filterOf(ctx.parameters);
const askedFor = (ctx) => JSON.stringify([filterNow(ctx), sortOf(ctx), sizeOf(ctx), offsetOf(ctx)]);
const here = (ctx, filter, more = {}) => address('routes', filter, {
  sort: ctx.parameters.get('sort'), size: ctx.parameters.get('size'), route: ctx.parameters.get('route'), ...more,
  // By what a route is found again when it has left the page that is shown.
  of: more.route === null ? null : more.of || ctx.parameters.get('of'),
});
const named = (route) => [route.schedule_id, route.provider, route.owner].map(encodeURIComponent).join('/');

async function load(ctx, signal, update) {
  const filter = filterNow(ctx);
  const [asked, wanted] = [JSON.stringify(filter), askedFor(ctx)];
  const page = await ctx.read(`${B}/routes`, { ...filter, sort: sortOf(ctx), limit: sizeOf(ctx), offset: offsetOf(ctx) }, signal);
  update({ page, shown: wanted, counted: asked, filter });
  // Behind the end, because the list has become shorter: back to its last page.
  if (page.items.length === 0 && page.total > 0) {
    ctx.go(here(ctx, filter, { from: Math.floor((page.total - 1) / sizeOf(ctx)) * sizeOf(ctx) }), { replace: true });
    return;
  }
  const chosen = ctx.parameters.get('route');
  if (chosen) await loadDetail(ctx, signal, update, chosen, page);
  nameAll(ctx);
}

/// Beside the rows, never in front of them, and one after the other.
async function nameAll(ctx) {
  if (listing || (lists && Date.now() - lists.at < 60000)) return;
  listing = true;
  try {
    const named = { at: Date.now() };
    for (const by of ['provider', 'owner', 'schedule_id']) {
      const summary = await ctx.api.get(`${B}/routes/summary`, { by, limit: 500 });
      named[by] = summary.groups.map((group) => group.value).sort();
      lists = { ...lists, ...named };
      ctx.draw();
    }
  } catch { /* The fields work without. */ } finally { listing = false; }
}

async function loadDetail(ctx, signal, update, id, page) {
  let route = page.items.find((one) => one.route_id === id);
  const [schedule_id, provider, owner] = (ctx.parameters.get('of') || '').split('/').map(decodeURIComponent);
  if (!route && owner) {
    // It is not on this page: it is asked for by what it is. An address may name one of an earlier cycle.
    for (const cycle of [null, 'all']) {
      const found = await ctx.read(`${B}/routes`, { schedule_id, provider, owner, cycle, limit: 200 }, signal);
      route ||= found.items.find((one) => one.route_id === id);
    }
  }
  if (!route) { update({ detail: { gone: true } }); return; }
  if (ctx.data?.detail?.route?.route_id !== id) update({ detail: { route, records: null } });
  else update({ detail: { ...ctx.data.detail, route } });
  const history = await ctx.read(B, { schedule_id: route.schedule_id, provider: route.provider, limit: 200 }, signal);
  update({ detail: { route, records: history.items, more: history.next_cursor } });
}

// Filters
function filters(ctx, filter) {
  const set = (term, value, typing) => ctx.go(here(ctx, withTerm(filterNow(ctx), term, value), { route: null }), { replace: typing });
  const choice = (term, label, values, name = words) => h('label', { class: 'field' }, h('span', { class: 'label' }, label),
    h('select', { id: `filter-${term}`, value: filter[term] === undefined ? '' : String(filter[term]), onchange: (event) => set(term, term === 'breached' && event.target.value ? event.target.value === 'true' : event.target.value) },
      h('option', { value: '' }, 'Any'), values.map((value) => h('option', { value }, name(value)))));
  const text = (term, label) => h('div', { class: 'field' }, h('label', { class: 'label', for: `filter-${term}` }, label),
    h('input', { id: `filter-${term}`, value: filter[term] || '', list: `list-${term}`, maxlength: 200, autocomplete: 'off', spellcheck: 'false', oninput: (event) => set(term, event.target.value.trim(), true) }),
    still(`list-${term}`, [lists?.[term]], () => h('datalist', { id: `list-${term}` }, (lists?.[term] || []).slice(0, 200).map((value) => h('option', { value })))));
  const known = [...new Set([...(lists?.provider || []), ...(filter.provider ? [filter.provider] : [])])];
  return h('form', { class: 'filters', role: 'search', 'aria-label': 'Filter routes', onsubmit: (event) => event.preventDefault() },
    text('owner', 'Owner'), choice('provider', 'Provider', known, (value) => value), choice('state', 'State', STATES),
    choice('action', 'Route action', ACTIONS), choice('category', 'Suppression', CATEGORIES),
    choice('breached', 'Breached', ['true', 'false'], (value) => (value === 'true' ? 'past its time' : 'within its time')), text('schedule_id', 'Schedule'));
}

// Table
function head(ctx, filter, key) {
  const sort = sortOf(ctx);
  const active = sort === key || sort === `-${key}`;
  return h('button', { class: 'sorter', key, onclick: () => ctx.go(here(ctx, filter, { sort: sort === key ? `-${key}` : key }), { replace: true }) },
    SORTS[key], active ? icon(sort === key ? 'up' : 'down') : null, h('span', { class: 'unseen' }, active ? '' : 'sort'));
}
const sorted = (ctx, key) => (sortOf(ctx) === key ? 'ascending' : sortOf(ctx) === `-${key}` ? 'descending' : null);

function timeLeft(route) {
  if (route.acknowledgement_state === 'not_required') return h('span', { class: 'quiet' }, 'waits for nothing');
  if (['outstanding', 'escalated'].includes(route.acknowledgement_state)) return h('span', { class: route.breached ? 'is-breached nowrap' : 'nowrap', title: `Until ${stamp(route.deadline_at)}` }, due(route.deadline_at));
  return h('span', { class: 'quiet' }, 'answered');
}

function answer(route) {
  if (route.acknowledgement_state === 'not_required') return [words(route.category), route.reason ? h('span', { class: 'quiet ellipsis' }, route.reason) : null];
  if (!route.acknowledged_by) return h('span', { class: 'quiet' }, 'nobody yet');
  return [h('span', {}, route.acknowledged_by, ' ', h('span', { class: 'quiet' }, when(route.acknowledged_at))),
    route.external_ref || route.notes ? h('span', { class: 'quiet ellipsis', title: route.notes || null }, [route.external_ref, route.notes].filter(Boolean).join(' · ')) : null];
}

function list(ctx, filter, page) {
  const chosen = ctx.parameters.get('route');
  const columns = [
    { name: 'Schedule', head: head(ctx, filter, 'schedule_id'), sorted: sorted(ctx, 'schedule_id') },
    { name: 'Provider', head: head(ctx, filter, 'provider'), sorted: sorted(ctx, 'provider') },
    { name: 'Owner', head: head(ctx, filter, 'owner'), sorted: sorted(ctx, 'owner') },
    { name: 'State' },
    { name: 'Time left', head: head(ctx, filter, 'urgency'), sorted: sorted(ctx, 'urgency') },
    { name: 'Answered by, and why' },
  ];
  const rows = page.items.map((route) => ({
    key: route.route_id, selected: route.route_id === chosen,
    cells: [
      h('a', { href: here(ctx, filter, { route: route.route_id, of: named(route), from: offsetOf(ctx) }), id: `row-${route.route_id}`, 'aria-label': `${route.schedule_id}, ${route.provider}, ${route.owner}: details`, onkeydown: walk }, route.schedule_id),
      route.provider, route.owner,
      h('span', { class: 'badges' }, badge(route.acknowledgement_state, route.acknowledgement_state === 'not_required' ? 'suppressed' : null), route.breached ? late('late') : null),
      timeLeft(route), h('div', { class: 'stack-s' }, answer(route)),
    ],
  }));
  const none = isEmpty(filter)
    ? empty('There are no routes yet', h('p', {}, 'A notification plan brings them: POST …/deliver, or cavra import.'))
    : empty('No route matches', h('p', {}, h('a', { href: here(ctx, {}) }, 'Clear the filter')));
  return table(`${many(page.total, 'route')}: ${sentence(filter)}`, columns, rows, { empty: none, id: 'routes' });
}

/// Arrow keys walk through the rows.
function walk(event, link) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const links = [...document.querySelectorAll('#routes tbody th a')];
  links[links.indexOf(link) + step]?.focus();
}

function pager(ctx, filter, page) {
  // What is shown, not what has been asked for.
  const [size, from] = [page.limit, page.offset];
  const to = (offset) => ctx.go(here(ctx, filter, { from: offset, route: null }), {});
  const last = Math.max(0, Math.floor((page.total - 1) / size) * size);
  const move = (label, offset, off) => h('button', { class: 'button small', key: label, 'aria-disabled': off ? 'true' : null, onclick: () => { if (!off) to(offset); } }, label);
  return h('div', { class: 'pager' },
    h('p', { id: 'range' }, page.total ? `${number(from + 1)}–${number(from + page.items.length)} of ${number(page.total)}` : 'none'),
    h('div', { class: 'tools', role: 'group', 'aria-label': 'Pages' }, move('First', 0, from === 0), move('Previous', Math.max(0, from - size), from === 0), move('Next', from + size, from + size >= page.total), move('Last', last, from >= last)),
    h('label', { class: 'tools' }, h('span', { class: 'quiet' }, 'Rows'), h('select', { value: String(size), onchange: (event) => ctx.go(here(ctx, filter, { size: event.target.value, from: null }), { replace: true }) }, SIZES.map((one) => h('option', { value: String(one) }, String(one))))));
}

// Detail
function detail(ctx, filter, { route, records, more, gone }) {
  const close = () => { ctx.go(here(ctx, filter, { route: null, from: offsetOf(ctx) }), { replace: true }); document.getElementById(`row-${route?.route_id}`)?.focus(); };
  if (gone) {
    return h('aside', { class: 'card detail', 'aria-label': 'Route', key: 'detail' }, h('div', { class: 'card-head' }, h('h2', { id: 'detail-title', tabindex: '-1' }, 'This route is not there'), h('button', { class: 'button plain small', 'aria-label': 'Close details', onclick: close }, icon('close'))),
      h('p', { class: 'quiet' }, 'No route with the id of this address is known', ctx.asOf ? ' in this earlier state.' : '.'), h('code', {}, ctx.parameters.get('route')));
  }
  const open = route.acknowledgement_state !== 'not_required';
  const state = route.acknowledgement_state;
  const final = state === 'resolved' ? 'Resolved is final. Only an undo leads back.' : '';
  const old = route.current ? '' : 'A newer plan has begun a new cycle, so this route is closed.';
  const act = (said, label) => button(ctx, { label, key: said, permission: 'drill.ack', kind: 'small', name: `${label} ${route.schedule_id}, ${route.provider}, ${route.owner}`, why: old || final || (state === said ? `It is ${said} already.` : ''), act: () => answerOne(ctx, route, said) });
  const standing = records && standingOf(records, route);
  return h('aside', { class: 'card detail', 'aria-label': `Route ${route.schedule_id}, ${route.provider}, ${route.owner}`, key: 'detail' },
    h('div', { class: 'card-head' }, h('h2', { id: 'detail-title', tabindex: '-1' }, `${route.schedule_id} over ${route.provider}`), h('button', { class: 'button plain small', 'aria-label': 'Close details', onclick: close }, icon('close'))),
    h('div', { class: 'badges' }, badge(state, open ? null : 'suppressed'), route.breached ? late() : null),
    h('dl', {}, h('dt', {}, 'Owner'), h('dd', {}, route.owner), h('dt', {}, 'Escalates to'), h('dd', {}, route.escalation_owner || '–'),
      h('dt', {}, 'Planned'), h('dd', {}, when(route.created_at)), open ? [h('dt', {}, 'Answer due'), h('dd', {}, when(route.deadline_at), ['outstanding', 'escalated'].includes(state) ? [' (', due(route.deadline_at), ')'] : null)] : null,
      route.reason ? [h('dt', {}, 'Because'), h('dd', {}, route.reason)] : null,
      route.acknowledged_by ? [h('dt', {}, 'Answered by'), h('dd', {}, route.acknowledged_by, ', ', when(route.acknowledged_at))] : null,
      route.external_ref ? [h('dt', {}, 'Reference'), h('dd', {}, route.external_ref)] : null, route.notes ? [h('dt', {}, 'Notes'), h('dd', {}, route.notes)] : null,
      h('dt', {}, 'Cycle'), h('dd', {}, h('code', {}, route.plan_id))),
    open ? h('div', { class: 'tools' }, act('acknowledged', 'Acknowledge'), act('escalated', 'Escalate'), act('dismissed', 'Dismiss'), act('resolved', 'Resolve'),
      standing ? button(ctx, { label: 'Undo…', permission: 'drill.ack.undo', kind: 'small', why: old, act: () => undoOne(ctx, standing, route) }) : null) : null,
    h('h3', {}, 'What happened'),
    records ? [h('ol', { class: 'timeline' }, timeline(ctx, route, records)), more ? h('p', { class: 'quiet' }, h('a', { href: `#/history?${new URLSearchParams({ schedule_id: route.schedule_id, provider: route.provider })}` }, 'Earlier records are in the history')) : null] : waiting());
}

const payload = (record) => record.acknowledgement || record.acknowledgement_undo || {};
const mine = (route) => (record) => {
  const own = payload(record);
  if (record.plan_id && record.plan_id !== route.plan_id && record.metadata_kind !== KIND.escalation) return false;
  // What names no plan, such as a delivery, belongs to the cycle in which it was.
  if (!record.plan_id && Date.parse(own.acknowledged_at || record.created_at) < Date.parse(route.created_at)) return false;
  return !own.owner || own.owner === route.owner;
};
function standingOf(records, route) {
  if (!route.acknowledged_by) return null;
  return records.find((record) => record.metadata_kind === KIND.ack && mine(route)(record) && payload(record).acknowledgement_state === route.acknowledgement_state && payload(record).acknowledged_by === route.acknowledged_by) || null;
}

function timeline(ctx, route, records) {
  const knots = [{ at: route.created_at, icon: 'file', what: 'Planned', more: route.reason }];
  for (const record of records.filter(mine(route))) {
    const own = payload(record);
    const name = record.metadata_kind;
    if (name === KIND.ack) knots.push({ at: own.acknowledged_at, icon: own.acknowledgement_state, level: own.acknowledgement_state === 'escalated' ? 'critical' : '', what: `${own.acknowledgement_state} by ${own.acknowledged_by}`, more: [own.external_ref, own.notes].filter(Boolean).join(' · '), bulk: own.bulk_id });
    else if (record.acknowledgement_undo) knots.push({ at: own.undone_at, icon: 'undo', what: `${own.undone_state} taken back by ${own.undone_by}`, more: own.reason });
    else if (name === KIND.delivery) knots.push({ at: record.created_at, icon: 'export', level: record.delivery_success === false ? 'critical' : '', what: `notification ${(record.failed_providers || []).includes(route.provider) ? 'not delivered' : 'delivered'}`, more: record.attempt_count ? many(record.attempt_count, 'attempt') : '' });
    else if (name !== KIND.plan && name !== KIND.escalation) knots.push({ at: record.created_at, icon: 'file', what: kind(name), more: '' });
  }
  if (['outstanding', 'escalated'].includes(route.acknowledgement_state)) knots.push({ at: route.deadline_at, icon: 'critical', level: route.breached ? 'critical' : '', what: route.breached ? 'Time to acknowledge was over' : 'Time to acknowledge ends', more: '' });
  return knots.sort((a, b) => Date.parse(a.at) - Date.parse(b.at)).map((knot) => h('li', { class: knot.level ? `is-${knot.level}` : null },
    h('span', { class: 'knot' }, icon(knot.icon)), h('div', {}, h('b', {}, knot.what.charAt(0).toUpperCase() + knot.what.slice(1)), ' ', h('span', { class: 'quiet' }, when(knot.at))),
    knot.more ? h('div', { class: 'quiet' }, knot.more) : null, knot.bulk ? h('div', {}, h('button', { class: 'linkish quiet', onclick: () => showBulk(ctx, knot.bulk) }, 'part of a bulk')) : null));
}

// Acting
const outstanding = (filter) => narrowed(filter, { state: 'outstanding' });
const late_ = (filter) => narrowed(filter, { breached: true });

function ready(data, filter) {
  return data.page && data.counted === JSON.stringify(filter) ? data.page.counts : null;
}
/// What is shown beside what a bulk means, as the preview says it.
function beside(counts, said) {
  const suppressed = [counts.suppressed_count, 'suppressed'];
  if (said === 'acknowledged') return [...STATES.slice(1).map((state) => [counts[`${state}_count`], state]), suppressed];
  return said === 'escalated' ? [[counts.route_count - counts.breached_count, 'within their time or answered'], suppressed] : [suppressed];
}
const start = (ctx, data, wanted, said) => bulk(ctx, wanted, said, beside(data.page.counts, said));

function actions(ctx, data, filter) {
  const counts = ready(data, filter);
  // For the moment that an answer takes, the numbers of before stay where they are; nothing can be done with them.
  const known = counts || data.page?.counts;
  const wait = counts ? '' : 'The routes are being counted.';
  const acks = outstanding(filter);
  const escalations = late_(filter);
  const whyAck = wait || (acks ? (counts.outstanding_count ? '' : 'No outstanding route is shown.') : 'The filter shows no outstanding route.');
  const whyLate = wait || (escalations ? (counts.breached_count ? '' : 'No route that is shown is past its time.') : 'The filter shows no route that is past its time.');
  const whole = narrowed(filter, {});
  const whyAll = wait || (isEmpty(filter) ? 'Filter first: a bulk over everything is not offered.' : !whole || !counts.route_count ? 'No route that is shown waits for an answer.' : '');
  // Beside the button, so that the name of the button is its name.
  const counted = (value, kind, control) => h('span', { class: `button counted ${kind}` }, control, h('span', { class: 'count', 'aria-hidden': 'true' }, known ? number(value) : '…'));
  const about = (value) => (known ? many(value, 'route') : null);
  const toExport = button(ctx, { key: 'export', label: 'Export Ack Audit', permission: 'audit.package.create', why: wait || (data.page?.total ? '' : 'There is nothing to export.'), act: () => exportPackage(ctx, filter, counts) });
  const release = h('div', { class: 'acts release', role: 'group', 'aria-label': 'For the release' }, h('span', { class: 'quiet' }, 'For the release'), auditorExport(ctx, 'small'), planAuditorRetry(ctx, 'small'), archiveReference(ctx, 'small'), archiveHealth(ctx, 'small'));
  if (ctx.asOf) {
    return [h('div', { class: 'acts', role: 'group', 'aria-label': 'For the routes that were' }, toExport,
      h('p', { class: 'quiet' }, `${PAST.split('. ')[0]}: nobody can acknowledge, escalate, dismiss or resolve what was. `, h('button', { class: 'linkish', onclick: () => lookAt(ctx, '') }, 'Back to now'))), release];
  }
  const [some, late] = [acks ? known?.outstanding_count : 0, escalations ? known?.breached_count : 0];
  return [h('div', { class: 'acts', role: 'group', 'aria-label': 'For the routes that are shown' },
    counted(some, 'primary', button(ctx, { key: 'ack', label: 'Bulk Ack Outstanding', bare: true, permission: 'drill.ack.bulk', why: whyAck, about: about(some), keys: 'a', act: () => start(ctx, data, acks, 'acknowledged') })),
    counted(late, 'danger', button(ctx, { key: 'esc', label: 'Bulk Escalate Breached', bare: true, permission: 'drill.ack.bulk', why: whyLate, about: about(late), keys: 'e', act: () => start(ctx, data, escalations, 'escalated') })),
    button(ctx, { key: 'dismiss', label: 'Dismiss…', permission: 'drill.ack.bulk', why: whyAll, act: () => start(ctx, data, whole, 'dismissed') }),
    button(ctx, { key: 'resolve', label: 'Resolve…', permission: 'drill.ack.bulk', why: whyAll, act: () => start(ctx, data, whole, 'resolved') }),
    toExport), release, limits(ctx, ['drill.ack', 'drill.ack.bulk', 'drill.ack.undo', 'audit.package.create', 'export.create', 'retry.plan.create', 'archive.reference.write'])];
}

function render(ctx, data) {
  const filter = filterNow(ctx);
  const page = data.page;
  const asked = Boolean(page) && data.shown !== askedFor(ctx);
  const old = asked ? 'old' : null;
  return [
    h('section', { class: 'card', 'aria-label': 'Filter' }, filters(ctx, filter),
      h('div', { class: 'scope' }, h('p', { id: 'scope', role: 'status', class: old }, page ? [h('b', {}, number(page.total)), ` ${sentence(asked ? data.filter : filter).replace(/^all /, '')}`] : 'Looking…'),
        isEmpty(filter) ? null : h('a', { href: here(ctx, {}, { route: null }) }, 'Clear')),
      page ? h('div', { class: old }, stateBar(page.counts, (state) => here(ctx, withTerm(filter, 'state', state), { route: null }))) : null),
    actions(ctx, data, filter),
    h('div', { class: `split ${data.detail && ctx.parameters.get('route') ? 'open' : ''}` },
      h('div', { id: 'results', class: old, 'aria-busy': asked || !page ? 'true' : null }, page ? [page.total ? still('routes', [page, data.shown, ctx.parameters.get('route')], () => list(ctx, data.filter, page)) : list(ctx, data.filter, page), page.total ? pager(ctx, filter, page) : null] : waiting()),
      data.detail && ctx.parameters.get('route') ? detail(ctx, filter, data.detail) : null),
  ];
}

const press = (make, state) => (ctx) => {
  const filter = filterNow(ctx);
  const counts = ctx.data && ready(ctx.data, filter);
  const wanted = make(filter);
  const count = state === 'acknowledged' ? counts?.outstanding_count : counts?.breached_count;
  const reason = barred(ctx, 'drill.ack.bulk', !counts ? 'The routes are being counted.' : !wanted || !count ? 'No route that is shown is meant by this.' : '');
  if (reason) ctx.notify(reason, 'warning');
  else start(ctx, ctx.data, wanted, state);
};

export const routes = {
  title: 'Go Rollback Drill Notifications',
  lead: 'Every route that waits, or waited, for an acknowledgement. What you see is what the buttons act on, and what is exported.',
  load, render,
  keys: {
    a: { name: 'Bulk Ack Outstanding', act: press(outstanding, 'acknowledged') },
    e: { name: 'Bulk Escalate Breached', act: press(late_, 'escalated') },
    '/': { name: 'To the filter', act: () => document.getElementById('filter-owner')?.focus() },
  },
};
