// Archive custody: which verified exports are kept unchanged and for long enough, and what to do where they are not.
import { AD, B } from './api.js';
import { h } from './dom.js';
import { KIND, capital, clockTime, many, number, short, told, when, words } from './format.js';
import { flow, form, title } from './forms.js';
import { badge, barred, button, empty, field, icon, rest, table, waiting } from './widgets.js';

const HEALTH = `${AD}/final-reporting-archive-reference-health`;
const REFERENCE = `${AD}/final-reporting-immutable-archive-reference`;

async function load(ctx, signal, update) {
  if (ctx.sample) { update({}); return; }
  const seen = barred(ctx, 'archive.health.read');
  // Looking stores nothing; storing is a button of its own.
  const health = seen && !ctx.away ? null : (await ctx.read(HEALTH, { persist: false }, signal)).health;
  if (health && !ctx.asOf) told(health);
  update({ health, seen });
  const references = await ctx.read(B, { metadata_kind: KIND.reference, limit: 100 }, signal);
  update({ references: references.items, total: references.total });
}

function recordReference(ctx) {
  flow(ctx, 'reference', {
    first: 'ask',
    ask: (state, run) => [title('Archive reference'), h('p', {}, 'What the archive says it keeps. The hash is what the archive observed, never a copy of the export’s own.'),
      form(ctx, state, run, {
        as: 'archived_by', label: 'Record the reference', typed: true,
        fields: [field('Where in the archive', h('input', { name: 'archive_ref', required: true, maxlength: 1000, autocomplete: 'off', autofocus: true, placeholder: 'worm://vault-7/rel-131/export.json' })),
          h('div', { class: 'two' }, field('Export', h('input', { name: 'export_id', maxlength: 200, autocomplete: 'off' }), 'Empty: the newest verified one'), field('Archive', h('input', { name: 'archive_provider', maxlength: 200, autocomplete: 'off' }), 'Such as vault-7'),
            field('SHA-256 that the archive reports', h('input', { name: 'archive_hash', maxlength: 80, autocomplete: 'off', spellcheck: 'false' })), field('Kept until', h('input', { name: 'until', type: 'date' }))),
          h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'hold' }), 'Under legal hold'), field('Notes', h('input', { name: 'notes', maxlength: 4000, autocomplete: 'off' }))],
        send: async (text, actor) => {
          const sent = { ...actor, legal_hold: text('hold') === 'on' };
          for (const name of ['archive_ref', 'archive_provider', 'archive_hash', 'export_id', 'notes']) if (text(name)) sent[name] = text(name);
          if (text('until')) sent.retention_until = `${text('until')}T00:00:00Z`;
          const { reference } = await ctx.api.post(REFERENCE, sent, state.key);
          state.done = true;
          ctx.close();
          ctx.notify(`Recorded for ${reference.release_record_ref || reference.export_id}`);
        },
      })],
  });
}

function store(ctx) {
  flow(ctx, 'health', {
    first: 'ask',
    ask: (state, run) => [title('Store this report'), h('p', {}, 'Judges every verified export once more, now, and keeps the report as evidence.'),
      form(ctx, state, run, {
        as: 'generated_by', label: 'Store the report',
        send: async (text, actor) => {
          await ctx.api.post(HEALTH, actor, state.key);
          state.done = true;
          ctx.close();
          ctx.notify('The report is stored as evidence');
        },
      })],
  });
}

const WORST = ['critical', 'warning'];
function healthCard(health, asOf) {
  // What is worse comes first.
  const alerts = [...(health.alerts || [])].sort((a, b) => WORST.indexOf(a.severity) - WORST.indexOf(b.severity));
  const columns = ['Severity', 'What is wrong', 'Export', 'What to do'].map((name) => ({ name }));
  const rows = alerts.slice(0, 300).map((alert, index) => ({ key: alert.fingerprint || index, cells: [
    badge(alert.severity), h('div', { class: 'stack-s' }, h('span', {}, capital(alert.message || words(alert.alert_id))), h('code', { class: 'quiet' }, alert.alert_id)),
    h('div', { class: 'stack-s' }, h('span', {}, alert.release_record_ref || '–'), h('code', { class: 'quiet id', title: alert.export_id }, short(alert.export_id)), alert.reference_id ? h('code', { class: 'quiet id', title: alert.reference_id }, short(alert.reference_id)) : null), alert.remedy || alert.operator_action || '–',
  ] }));
  return h('section', { class: 'stack', 'aria-label': 'Archive Health' },
    h('div', { class: `verdict is-${health.alert_level}` }, icon(health.alert_level), h('div', {}, h('p', {}, !health.alert_count ? (health.checked_export_count ? 'Every verified export is kept as it should be.' : 'There is no verified export yet.') : `${many(health.alert_count, 'alert')} about ${many(health.checked_export_count, 'verified export')}.`),
      h('p', { class: 'quiet' }, `${number(health.archived_export_count)} of ${number(health.checked_export_count)} have an archive reference. Judged ${asOf ? 'as of then' : `at ${clockTime(Date.parse(health.generated_at))}`}; nothing was stored by looking.`))),
    table('Alerts, each with what to do', columns, rows, { empty: empty('No alert', h('p', {}, 'Hash, retention and legal hold of every verified export are as the policy asks.')) }),
    rest(alerts, 300, `${health.health_id}-alerts.json`));
}

function render(ctx, data) {
  if (ctx.sample) return empty('The sample has no archive', h('p', {}, 'Archive references and their health need an API.'));
  const rows = (data.references || []).map((one) => {
    const reference = one.final_reporting_immutable_archive_reference || one;
    return { key: one.session_id, cells: [
      h('span', { class: 'stack-s' }, h('span', {}, one.release_record_ref || short(one.export_id)), h('code', { class: 'quiet id' }, short(one.export_id))), h('span', { class: 'nowrap' }, when(one.created_at)), h('code', {}, reference.archive_ref || one.archive_ref || '–'),
      reference.archive_hash ? h('code', { title: reference.archive_hash }, reference.archive_hash.replace('sha256:', '').slice(0, 12)) : h('span', { class: 'quiet' }, 'none'), reference.retention_until ? when(reference.retention_until) : h('span', { class: 'quiet' }, 'not said'), reference.legal_hold ? 'yes' : 'no',
    ] };
  });
  return h('div', { class: 'stack' },
    data.health ? healthCard(data.health, ctx.asOf) : h('div', { class: 'note' }, icon('warning'), h('p', {}, data.seen)),
    h('section', { class: 'stack', 'aria-label': 'Archive references' }, h('h2', {}, data.references ? many(data.total, 'archive reference') : 'Archive references'),
      data.references ? table('Archive references, newest first', ['Release', 'Archived', 'Where', 'SHA-256', 'Kept until', 'Legal hold'].map((name) => ({ name })), rows, { empty: empty('No reference has been recorded yet') }) : waiting()));
}

const ELSEWHERE = 'Archives are not part of the sample.';
export const archiveReference = (ctx, kind) => button(ctx, { key: 'ref', label: 'Archive Reference', kind, permission: 'archive.reference.write', why: ctx.sample ? ELSEWHERE : '', act: () => recordReference(ctx) });
/// Judges anew and shows it; storing the report is a button of its own.
export const archiveHealth = (ctx, kind) => button(ctx, { key: 'health', label: 'Archive Health', kind, permission: 'archive.health.read', why: ctx.sample ? ELSEWHERE : '', act: () => ctx.go('#/archive') });

export const archive = {
  title: 'Archive', lead: 'Which verified exports are in an immutable archive, unchanged and for long enough. This service writes to no archive: it judges what archives report.', load, render,
  tools: (ctx) => [archiveReference(ctx),
    button(ctx, { key: 'store', label: 'Store the report…', permission: 'archive.health.record', why: ctx.sample ? ELSEWHERE : '', act: () => store(ctx) }), archiveHealth(ctx, 'primary')],
};
