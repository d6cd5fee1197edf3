// History: every evidence record, newest first.
import { B } from './api.js';
import { h } from './dom.js';
import { KIND, kind, many, number, short, when } from './format.js';
import { badge, button, empty, table, waiting } from './widgets.js';
import { end } from './forms.js';
import { undoBulk } from './bulk.js';
import { SOURCE } from './deliveries.js';

const CHOICES = { ack: 'Acknowledgements', bulk: 'Bulk acknowledgements', plan: 'Notification plans', escalation: 'Escalation plans', package: 'Audit packages', delivery: 'Deliveries', export: 'Auditor exports', retry: 'Retry plans', reference: 'Archive references', health: 'Archive health reports' };

const query = (ctx) => ({ metadata_kind: ctx.parameters.get('kind'), schedule_id: ctx.parameters.get('schedule_id'), provider: ctx.parameters.get('provider'), delivery_success: ctx.parameters.get('success'), connector_delivery_source: ctx.parameters.get('source'), orphaned: ctx.parameters.get('orphaned') === 'true' || null });

async function load(ctx, signal, update) {
  const asked = JSON.stringify(query(ctx));
  const kept = ctx.data?.asked === asked ? ctx.data.pages : 1;
  let page = await ctx.read(B, { ...query(ctx), limit: 50 }, signal);
  const items = [...page.items];
  for (let count = 1; count < kept && page.next_cursor; count += 1) {
    page = await ctx.read(B, { ...query(ctx), limit: 50, cursor: page.next_cursor }, signal);
    items.push(...page.items);
  }
  update({ asked, items, total: page.total, bound: page.total_is_lower_bound, next: page.next_cursor, pages: kept });
}

const go = (ctx, term, value) => {
  const parameters = new URLSearchParams(ctx.parameters);
  if (value) parameters.set(term, value);
  else parameters.delete(term);
  ctx.go(`#/history${parameters.size ? `?${parameters}` : ''}`);
};

function status(record) {
  if (record.acknowledgement_state) return badge(record.acknowledgement_state === 'undone' ? 'dismissed' : record.acknowledgement_state, record.acknowledgement_state);
  if (record.delivery_success === true) return badge('resolved', 'delivered');
  if (record.delivery_success === false) return badge('escalated', 'failed');
  if (record.verification_state) return badge(record.verification_state === 'verified' ? 'healthy' : 'critical', record.verification_state);
  return record.alert_level ? badge(record.alert_level) : h('span', { class: 'quiet' }, 'recorded');
}

/// Deliveries are signed by their source, which is no person.
const who = (record) => (record.signer && !record.signer.startsWith('go_backend') ? record.signer : '–');

function about(ctx, record, pinned) {
  const providers = record.provider || (record.providers || record.selected_providers || []).join(', ');
  if (record.metadata_kind === KIND.escalation && pinned) return `the newest one, with the states of ${ctx.asOf ? 'then' : 'now'}`;
  const bulk = record.bulk_acknowledgement;
  if (bulk) return `${many(bulk.changed_count, 'route')} of ${number(bulk.matched_count)}${bulk.external_ref ? `, ${bulk.external_ref}` : ''}`;
  return [record.schedule_id || record.release_record_ref || record.event_id, providers].filter(Boolean).join(', ') || '–';
}

function show(ctx, record) {
  const undoable = record.metadata_kind === KIND.bulk;
  const text = JSON.stringify(record, null, 2);
  ctx.open({ name: 'record', render: () => [h('h2', { id: 'dialog-title', tabindex: '-1' }, kind(record.metadata_kind)),
    h('dl', { class: 'facts' }, h('dt', {}, 'Record'), h('dd', {}, h('code', {}, record.session_id)), h('dt', {}, 'Recorded'), h('dd', {}, when(record.created_at)), h('dt', {}, 'By'), h('dd', {}, who(record))),
    h('pre', { tabindex: '0', 'aria-label': 'The record as JSON' }, text.length > 60000 ? `${text.slice(0, 60000)}\n…` : text),
    h('div', { class: 'dialog-foot' }, undoable ? button(ctx, { label: 'Undo this bulk…', permission: 'drill.ack.undo', act: () => undoBulk(ctx, record.bulk_id, record.changed_count) }) : null, end(ctx))] });
}

function render(ctx, data) {
  if (!data.items) return waiting();
  const chosen = ctx.parameters.get('kind') || '';
  const known = Object.keys(CHOICES).some((name) => KIND[name] === chosen);
  const rows = data.items.map((record, index) => ({ key: record.session_id, cells: [
    h('span', { class: 'nowrap' }, when(record.created_at)),
    h('button', { class: 'linkish', 'aria-label': `${kind(record.metadata_kind)} ${record.session_id}`, onclick: () => show(ctx, record) }, kind(record.metadata_kind)),
    about(ctx, record, index === 0), status(record), who(record), h('code', { class: 'quiet id', title: record.session_id }, short(record.session_id)),
  ] }));
  const named = { success: ctx.parameters.get('success') === 'true' ? 'delivered' : 'failed', orphaned: 'of no route', source: ctx.parameters.get('source') === SOURCE ? 'of auditor exports' : '' };
  const terms = ['schedule_id', 'provider', 'success', 'source', 'orphaned'].filter((term) => ctx.parameters.get(term));
  return [h('div', { class: 'acts' }, h('label', { class: 'field' }, h('span', { class: 'label' }, 'Kind'),
    h('select', { value: chosen, onchange: (event) => go(ctx, 'kind', event.target.value) }, h('option', { value: '' }, 'All kinds'), Object.entries(CHOICES).map(([name, label]) => h('option', { value: KIND[name] }, label)), chosen && !known ? h('option', { value: chosen }, kind(chosen)) : null)),
    h('label', { class: 'field' }, h('span', { class: 'label' }, 'Schedule'), h('input', { value: ctx.parameters.get('schedule_id') || '', maxlength: 200, autocomplete: 'off', onchange: (event) => go(ctx, 'schedule_id', event.target.value.trim()) })),
    terms.map((term) => h('button', { class: 'button small', key: term, onclick: () => go(ctx, term, '') }, [named[term] || ctx.parameters.get(term), h('span', { 'aria-hidden': 'true' }, '×'), h('span', { class: 'unseen' }, ': take this term away')]))),
  h('p', { class: 'quiet', role: 'status' }, `${data.bound ? 'at least ' : ''}${many(data.total, 'record')}`),
  table('Evidence records, newest first', ['Recorded', 'Kind', 'About', 'Status', 'By', 'Record'].map((name) => ({ name })), rows, { empty: empty(location.hash.includes('?') ? 'No record matches' : 'Nothing has been recorded yet') }),
  data.next ? h('div', { class: 'pager' }, h('span', {}, `${number(data.items.length)} shown`), h('button', { class: 'button', onclick: () => { ctx.data.pages += 1; ctx.refresh(); } }, 'Show 50 more')) : null];
}

export const history = { title: 'History', lead: 'Every evidence record, newest first. Nothing is ever changed or removed.', load, render };
