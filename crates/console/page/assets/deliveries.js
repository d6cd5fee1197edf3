// What connectors did with an auditor export: the list, and recording one more result. Nothing is sent from here.
import { AD, B } from './api.js';
import { h } from './dom.js';
import { KIND, localTime, many, number, short, utc, when } from './format.js';
import { end, flow, foot, form, title } from './forms.js';
import { badge, button, empty, field, icon, table, waiting } from './widgets.js';

const RECORD = `${AD}/final-reporting-auditor-export/deliveries`;
export const SOURCE = 'go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export';
const PAGE = 50;

export const alike = (a, b) => a.trim().toLowerCase().replaceAll('-', '_') === b.trim().toLowerCase().replaceAll('-', '_');
/// A record may tell of several providers with one success: then it failed for those that it names, or for all.
export const arrived = (record, provider) => {
  const failing = record.failed_providers || [];
  return record.delivery_success || (failing.length > 0 && !failing.some((one) => alike(one, provider)));
};
export const outcome = (record, provider) => (arrived(record, provider) ? badge('resolved', 'delivered') : badge('critical', 'failed'));
const part = (record) => record.delivery?.deliveries?.[0] || {};
export const status = (code) => (code === 0 ? 'nobody answered' : code ? `status ${code}` : 'no status');
const attempted = (record, index) => [(record.status_codes?.length === record.providers?.length ? [record.status_codes[index]] : record.status_codes || [null]).map(status).join(', '), many(record.attempt_count || 1, 'attempt'), part(record).error_class].filter(Boolean).join(', ');

/// Records what became of a delivery: `one` names the export, and the provider where it is known.
export function recordDelivery(ctx, one, after) {
  const chosen = { arrived: true };
  flow(ctx, 'delivery', {
    first: 'ask',
    ask: (state, run) => {
      const result = (arrived, label) => h('label', { class: 'check' }, h('input', { type: 'radio', name: 'result', checked: chosen.arrived === arrived, autofocus: arrived, onchange: () => { chosen.arrived = arrived; ctx.draw(); } }), label);
      const digits = (name, more) => h('input', { name, type: 'number', ...more });
      return [title(one.provider ? `What became of the delivery to ${one.provider}?` : 'Record a delivery'),
        h('p', {}, 'Your connector sent the export', one.release_record_ref ? [' of ', h('b', {}, one.release_record_ref)] : null, '; here its result becomes evidence. ', h('code', { class: 'quiet id', title: one.export_id }, short(one.export_id))),
        form(ctx, state, run, {
          as: 'reported_by', label: 'Record the result', typed: true, next: 'done',
          fields: [one.provider ? null : field('Provider', h('input', { name: 'provider', required: true, maxlength: 200, autocomplete: 'off', placeholder: 'teams' })),
            h('fieldset', { class: 'choices' }, h('legend', { class: 'label' }, 'Result'), result(true, 'It arrived'), result(false, 'It failed')),
            h('div', { class: 'two' },
              field('HTTP status', digits('status', { min: 0, max: 999 }), chosen.arrived ? 'Such as 200; empty when there is none' : 'Such as 503; 0 when nobody answered'), field('Attempts', digits('attempts', { min: 1, max: 1000000, value: '1', required: true })),
              field('Began', h('input', { name: 'started', type: 'datetime-local', step: 1 }), 'May be empty'), field('Ended', h('input', { name: 'completed', type: 'datetime-local', step: 1, required: true, value: localTime(state.data.opened ||= Date.now()) })),
              chosen.arrived ? null : [field('Error', h('input', { name: 'error', maxlength: 200, autocomplete: 'off', placeholder: 'timeout' }), 'A word or two, never a secret'), field('Asked to wait, seconds', digits('after', { min: 0, max: 315360000 }), 'What Retry-After said')])],
          send: async (text, actor) => {
            const count = (name) => (text(name) === '' ? undefined : Number(text(name)));
            const sent = {
              export_id: one.export_id, provider: one.provider || text('provider'), success: chosen.arrived, status_code: count('status'), attempt_count: count('attempts'),
              started_at: text('started') ? utc(text('started')) : undefined, completed_at: utc(text('completed')), error_class: chosen.arrived ? undefined : text('error') || undefined, retry_after_seconds: chosen.arrived ? undefined : count('after'), ...actor,
            };
            state.data.done = await ctx.api.post(RECORD, sent, state.key);
            ctx.say(`Recorded: ${sent.provider} ${sent.success ? 'has it' : 'has not got it'}.`);
            ctx.refresh();
          },
        })];
    },
    done: (state) => {
      const { delivery } = state.data.done;
      const [did] = delivery.deliveries;
      return [title(did.success ? `${did.provider} has it` : `${did.provider} has not got it`),
        h('div', { class: `note is-${did.success ? 'healthy' : 'warning'}` }, icon(did.success ? 'healthy' : 'warning'), h('div', {}, h('p', {}, did.success ? 'Recorded as evidence. The failures before it are cleared: the next plan leaves this delivery out.' : 'Recorded as evidence. The next plan counts this failure.'),
          h('p', { class: 'quiet' }, 'Delivery ', h('code', {}, state.data.done.metadata.session_id)))),
        foot(after ? button(ctx, { key: 'again', label: 'Plan again…', permission: 'retry.plan.create', act: after }) : null, end(ctx))];
    },
  });
}

/// Every delivery of one export, newest first, a page at a time.
export function deliveriesOf(ctx, exportId) {
  const known = { items: null, total: 0, next: null, error: null };
  const more = async () => {
    try {
      const page = await ctx.read(B, { metadata_kind: KIND.delivery, delivery_id: exportId, limit: PAGE, cursor: known.next });
      Object.assign(known, { items: [...(known.items || []), ...page.items], total: page.total, next: page.next_cursor });
    } catch (error) { known.error = error; }
    ctx.draw();
  };
  more();
  return () => {
    if (known.error) return h('p', { class: 'note is-critical' }, known.error.message);
    if (!known.items) return waiting();
    const rows = known.items.flatMap((record) => (record.providers?.length ? record.providers : ['–']).map((provider, index) => ({ key: `${record.session_id}|${provider}`, cells: [
      provider, outcome(record, provider), attempted(record, index), h('span', { class: 'nowrap' }, when(record.created_at)), part(record).retry_after_seconds ? `${number(part(record).retry_after_seconds)} s` : '–'] })));
    return [table('Deliveries of this export, newest first', ['Provider', 'Result', 'What happened', 'When', 'Asked to wait'].map((name) => ({ name })), rows, { empty: empty('No delivery has been reported') }),
      known.next ? h('div', { class: 'pager' }, h('span', {}, `${number(known.items.length)} of ${number(known.total)}`), h('button', { class: 'button small', onclick: more }, 'Show more')) : null];
  };
}
