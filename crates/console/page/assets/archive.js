// Archive custody: which verified exports are kept unchanged and for long enough, and what to do where they are not.
import { AD, B } from './api.js';
import { h } from './dom.js';
import { KIND, many, number, short, told, when, words } from './format.js';
import { actorField, actorOf, badge, barred, button, empty, field, icon, rest, table, waiting } from './widgets.js';
import { cancel, failed, flow, foot, submit, title } from './bulk.js';

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

function record(ctx) {
  flow(ctx, 'reference', {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const data = new FormData(event.target);
        const text = (name) => String(data.get(name) || '').trim();
        const actor = actorOf(ctx, event.target);
        const sent = { archive_ref: text('ref'), archive_provider: text('provider'), archive_hash: text('hash'), retention_until: text('until') ? `${text('until')}T00:00:00Z` : '', legal_hold: data.get('hold') === 'on', export_id: text('export'), notes: text('notes'), ...(actor.name === undefined ? {} : { archived_by: actor.name }) };
        for (const [name, value] of Object.entries(sent)) if (value === '') delete sent[name];
        run(async () => {
          const { reference } = await ctx.api.post(REFERENCE, sent, state.key);
          state.done = true;
          ctx.close();
          ctx.notify(`Recorded for ${reference.release_record_ref || reference.export_id}`);
        });
      };
      return [title('Archive reference'), h('p', {}, 'What the archive says it keeps. The hash is what the archive observed, never a copy of the export’s own.'), failed(state),
        h('form', { class: 'stack', onsubmit: go },
          field('Where in the archive', h('input', { name: 'ref', required: true, maxlength: 1000, autocomplete: 'off', autofocus: true, placeholder: 'worm://vault-7/rel-131/export.json' })),
          h('div', { class: 'two' }, field('Export', h('input', { name: 'export', maxlength: 200, autocomplete: 'off', value: state.data.export || '' }), 'Empty: the newest verified one'), field('Archive', h('input', { name: 'provider', maxlength: 200, autocomplete: 'off' }), 'Such as vault-7'),
            field('SHA-256 that the archive reports', h('input', { name: 'hash', maxlength: 80, autocomplete: 'off', spellcheck: 'false' })), field('Kept until', h('input', { name: 'until', type: 'date' }))),
          h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'hold' }), 'Under legal hold'), field('Notes', h('input', { name: 'notes', maxlength: 4000, autocomplete: 'off' })), actorField(ctx), foot(cancel(ctx, state), submit(state, 'Record the reference', '', false)))];
    },
  });
}

function store(ctx) {
  flow(ctx, 'health', {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const actor = actorOf(ctx, event.target);
        run(async () => {
          await ctx.api.post(HEALTH, actor.name === undefined ? {} : { generated_by: actor.name }, state.key);
          state.done = true;
          ctx.close();
          ctx.notify('The report is stored as evidence');
        });
      };
      return [title('Store this report'), h('p', {}, 'Judges every verified export once more, now, and keeps the report as evidence.'), failed(state), h('form', { class: 'stack', onsubmit: go }, actorField(ctx), foot(cancel(ctx, state), submit(state, 'Store the report', '', Boolean(ctx.session?.authenticated || localStorage.getItem('cavra-name')))))];
    },
  });
}

function healthCard(health, asOf) {
  const alerts = health.alerts || [];
  const columns = ['Severity', 'What is wrong', 'Export', 'What to do'].map((name) => ({ name }));
  const rows = alerts.slice(0, 300).map((alert, index) => ({ key: alert.fingerprint || index, cells: [
    badge(alert.severity), h('div', { class: 'stack-s' }, h('span', {}, alert.message || words(alert.alert_id)), h('code', { class: 'quiet' }, alert.alert_id)),
    h('div', { class: 'stack-s' }, h('span', {}, alert.release_record_ref || '–'), h('code', { class: 'quiet id', title: alert.export_id }, short(alert.export_id)), alert.reference_id ? h('code', { class: 'quiet id', title: alert.reference_id }, short(alert.reference_id)) : null), alert.remedy || alert.operator_action || '–',
  ] }));
  return h('section', { class: 'stack', 'aria-label': 'Archive Health' },
    h('div', { class: `verdict is-${health.alert_level}` }, icon(health.alert_level), h('div', {}, h('p', {}, health.alert_level === 'healthy' ? 'Every verified export is kept as it should be.' : `${many(health.alert_count, 'alert')} about ${many(health.checked_export_count, 'verified export')}.`),
      h('p', { class: 'quiet' }, `${number(health.archived_export_count)} of ${number(health.checked_export_count)} have an archive reference. Judged ${asOf ? 'as of then' : 'now'}; nothing was stored by looking.`))),
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

export const archive = {
  title: 'Archive', lead: 'Which verified exports are in an immutable archive, unchanged and for long enough. This service writes to no archive: it judges what archives report.', load, render,
  tools: (ctx) => [button(ctx, { key: 'ref', label: 'Archive reference…', permission: 'archive.reference.write', why: ctx.sample ? 'Archives are not part of the sample.' : '', act: () => record(ctx) }), button(ctx, { key: 'store', label: 'Store Archive Health…', kind: 'primary', permission: 'archive.health.record', why: ctx.sample ? 'Archives are not part of the sample.' : '', act: () => store(ctx) })],
};
