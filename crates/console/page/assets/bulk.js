// Acting on routes: preview, one confirmation bound to what was seen, outcomes, undo.
import { B, Refused, intent } from './api.js';
import { h } from './dom.js';
import { sentence as inWords } from './filter.js';
import { actorName, cancel, end, flow, foot, form, reasonField, referenceFields, title, working } from './forms.js';
import { many, number, short, when, words } from './format.js';
import { badge, button, download, errorBox, icon, rest, table } from './widgets.js';

const VERB = { acknowledged: 'Acknowledge', escalated: 'Escalate', dismissed: 'Dismiss', resolved: 'Resolve' };
const REASONS = {
  already_in_state: 'is in this state already', resolved_is_final: 'is resolved, and resolved is final', suppressed: 'is suppressed and waits for nothing',
  superseded: 'belongs to an earlier cycle', unknown_schedule: 'no such schedule', unknown_plan: 'no such plan', unknown_route: 'no such route',
  changed_since: 'somebody has changed it since', already_undone: 'was undone before',
};
const SHOWN = 200;

function outcomes(list, said, undo) {
  const rows = list.slice(0, SHOWN).map((one, index) => ({
    key: `${one.plan_id}|${one.provider}|${one.owner}|${index}`,
    cells: [one.schedule_id, one.provider, one.owner || '–', one.outcome === 'changed'
      ? h('span', { class: 'badges' }, badge(one.previous_state), '→', badge(one.state))
      : h('span', {}, `${undo ? 'stays' : 'unchanged'}: ${REASONS[one.reason] || words(one.reason) || words(one.outcome)}`)],
  }));
  return [table('Routes and what happens to each', ['Schedule', 'Provider', 'Owner', said].map((name) => ({ name })), rows),
    rest(list, SHOWN, 'outcomes.json')];
}
const byOutcome = (list) => [...list].sort((a, b) => (a.outcome === 'changed') - (b.outcome === 'changed'));
const sums = (answer, verb) => h('ul', { class: 'sum' },
  h('li', {}, h('b', {}, number(answer.changed_count)), verb),
  answer.already_count ? h('li', {}, h('b', {}, number(answer.already_count)), 'already so') : null,
  answer.refused_count ? h('li', {}, h('b', {}, number(answer.refused_count)), 'cannot change') : null,
  answer.not_found_count ? h('li', {}, h('b', {}, number(answer.not_found_count)), 'not found') : null);

/// A bulk over what a filter means. `beside` is what else is shown and not meant, with the reason.
export function bulk(ctx, filter, said, beside = []) {
  const body = (more) => ({ filter, acknowledgement_state: said, mode: 'best_effort', ...more });
  // A preview is made under a name that is recorded nowhere.
  const viewer = () => (ctx.session?.authenticated ? {} : { acknowledged_by: actorName() });
  const look = async (state) => {
    state.key = intent();
    state.data.preview = await ctx.api.post(`${B}/acknowledgements/bulk`, body({ dry_run: true, ...viewer() }), null, { prefer: 'return=minimal' });
  };
  const verb = VERB[said];
  const others = beside.filter(([count]) => count);
  const { state, run } = flow(ctx, `bulk-${said}`, {
    first: 'looking',
    looking: (state, run) => [title(`${verb}: looking…`), state.error ? [errorBox(state.error), foot(cancel(ctx, state, 'Close'), h('button', { class: 'button primary', onclick: () => run(() => look(state), 'preview') }, 'Try again'))] : working(state, 'Finding out which routes would change')],
    preview: (state, run) => {
      const answer = state.data.preview;
      if (state.error instanceof Refused && state.error.code === 'selection_changed') {
        return [title('The routes have changed'), h('p', {}, 'Scope: ', h('b', {}, inWords(filter))), difference(state.error, () => run(() => look(state), 'preview'), state), foot(cancel(ctx, state, 'Close'))];
      }
      return [
        title(answer.changed_count ? `${verb} ${many(answer.changed_count, 'route')}` : `Nothing to ${verb.toLowerCase()}`),
        h('p', {}, 'Scope: ', h('b', {}, inWords(filter)), h('span', { class: 'quiet' }, ` · what you confirm is exactly this preview `, h('code', { title: answer.selection_digest }, answer.selection_digest.slice(7, 19)))),
        sums(answer, 'will change'),
        others.length ? h('p', { class: 'quiet beside' }, `Of what is shown this leaves alone: ${others.map(([count, why]) => `${number(count)} ${why}`).join(', ')}.`) : null,
        answer.refused_count + answer.already_count ? h('p', { class: 'quiet' }, 'Those that do not change come first, each with the reason.') : null,
        outcomes(byOutcome(answer.outcomes), 'Will be'),
        answer.changed_count
          ? form(ctx, state, run, {
            as: 'acknowledged_by', fields: referenceFields(), label: `${verb} ${many(answer.changed_count, 'route')}`, kind: said === 'escalated' ? 'danger' : '', next: 'done', doing: `${many(answer.changed_count, 'route')} in one transaction`,
            send: async (text, actor) => {
              const sent = body({ external_ref: text('external_ref'), notes: text('notes'), expected_digest: answer.selection_digest, ...actor });
              state.data.done = await ctx.api.post(`${B}/acknowledgements/bulk`, sent, state.key, { prefer: 'return=minimal' });
              ctx.say(`${many(state.data.done.changed_count, 'route')} ${said}.`);
              ctx.refresh();
            },
          })
          : foot(cancel(ctx, state, 'Close')),
      ];
    },
    done: (state) => {
      const answer = state.data.done;
      return [title(`${many(answer.changed_count, 'route')} ${said}`), h('div', { class: 'note is-healthy' }, icon('healthy'), h('div', {}, h('p', {}, 'Recorded as evidence in one transaction.'), h('p', { class: 'quiet' }, 'Bulk ', h('code', {}, answer.bulk_id)))),
        sums(answer, `now ${said}`), outcomes(byOutcome(answer.outcomes), 'Became'),
        foot(button(ctx, { key: 'undo', label: [icon('undo'), 'Undo…'], permission: 'drill.ack.undo', why: answer.changed_count ? '' : 'Nothing was changed.', act: () => undoBulk(ctx, answer.bulk_id, answer.changed_count) }), end(ctx))];
    },
  });
  run(() => look(state), 'preview');
}

/// What has changed between the preview and the confirmation.
function difference(error, again, state) {
  const what = error.problem.difference || {};
  const parts = [[what.joined_count, 'joined'], [what.left_count, 'left'], [what.changed_count, 'changed']].filter(([count]) => count).map(([count, did]) => `${number(count)} ${did}`);
  return h('div', { class: 'note is-warning', role: 'alert' }, icon('warning'), h('div', {},
    h('p', {}, h('b', {}, 'Somebody was faster. '), `The routes are no longer those that you saw${parts.length ? `: ${parts.join(', ')}` : ''}. Nothing was changed.`),
    (what.routes || []).length ? h('ul', {}, what.routes.slice(0, 8).map((route) => h('li', {}, [route.schedule_id, route.provider, route.owner].filter(Boolean).join(', ') || short(route.route_id), route.change ? `: ${words(route.change)}` : ''))) : null,
    h('p', { class: 'quiet' }, 'Request ', h('code', {}, error.requestId)),
    h('div', {}, h('button', { class: 'button primary', autofocus: true, 'aria-disabled': state.busy ? 'true' : null, onclick: again }, 'Look again'))));
}

/// Taking a bulk back.
export function undoBulk(ctx, bulkId, count) {
  flow(ctx, 'undo-bulk', {
    first: 'ask',
    ask: (state, run) => [title(count ? `Undo for ${many(count, 'route')}` : 'Undo this bulk'), h('p', {}, 'Each route goes back to what it was before, unless somebody has changed it since. The undo is new evidence; nothing is erased.'),
      form(ctx, state, run, {
        as: 'undone_by', fields: reasonField(), label: 'Undo', kind: 'danger', typed: true, next: 'done', doing: 'Taking it back in one transaction',
        send: async (text, actor) => {
          state.data.done = await ctx.api.post(`${B}/acknowledgements/bulk/${encodeURIComponent(bulkId)}/undo`, { reason: text('reason'), ...actor }, state.key, { prefer: 'return=minimal' });
          ctx.refresh();
        },
      })],
    done: (state) => [title(`${many(state.data.done.changed_count, 'route')} taken back`), sums(state.data.done, 'taken back'), outcomes(byOutcome(state.data.done.outcomes), 'Became', true), foot(end(ctx))],
  });
}

/// A bulk that was done, as its evidence has it.
export function showBulk(ctx, bulkId) {
  const { state, run } = flow(ctx, 'bulk-was', {
    first: 'looking',
    looking: (state) => [title('Bulk acknowledgement'), state.error ? [errorBox(state.error), foot(cancel(ctx, state, 'Close'))] : working(state, 'Looking for it')],
    done: (state) => [title('Bulk acknowledgement'), h('p', {}, h('code', {}, bulkId)), sums(state.data.was, state.data.was.acknowledgement_state), outcomes(byOutcome(state.data.was.outcomes), 'Became'),
      foot(button(ctx, { key: 'undo', label: [icon('undo'), 'Undo…'], permission: 'drill.ack.undo', act: () => undoBulk(ctx, bulkId, state.data.was.changed_count) }), end(ctx))],
  });
  run(async () => { state.data.was = await ctx.api.get(`${B}/acknowledgements/bulk/${encodeURIComponent(bulkId)}`); }, 'done');
}

/// One route's answer.
export function answerOne(ctx, route, said) {
  flow(ctx, `answer-${said}`, {
    first: 'ask',
    ask: (state, run) => [title(`${VERB[said]} one route`), h('p', {}, h('b', {}, route.schedule_id), ` over ${route.provider}, ${route.owner}: `, h('span', { class: 'nowrap' }, badge(route.acknowledgement_state), ' → ', badge(said))),
      form(ctx, state, run, {
        as: 'acknowledged_by', fields: referenceFields(), label: VERB[said], kind: said === 'escalated' ? 'danger' : '',
        send: async (text, actor) => {
          const sent = { provider: route.provider, owner: route.owner, plan_id: route.plan_id, acknowledgement_state: said, external_ref: text('external_ref'), notes: text('notes'), ...actor };
          await ctx.api.post(`${B}/${encodeURIComponent(route.schedule_id)}/acknowledgements`, sent, state.key);
          state.done = true;
          ctx.close();
          ctx.notify(`${route.schedule_id} over ${route.provider} is ${said}`);
        },
      })],
  });
}

/// Taking one acknowledgement back.
export function undoOne(ctx, record, route) {
  const own = record.acknowledgement;
  flow(ctx, 'undo-one', {
    first: 'ask',
    ask: (state, run) => [title(`Undo “${own.acknowledgement_state}”`), h('p', {}, `${own.acknowledged_by} said so about ${route.schedule_id} over ${route.provider}${own.owner ? `, ${own.owner}` : ', every owner'}. The route goes back to what it was before.`),
      form(ctx, state, run, {
        as: 'undone_by', fields: reasonField(), label: 'Undo', kind: 'danger', typed: true,
        send: async (text, actor) => {
          await ctx.api.post(`${B}/acknowledgements/${encodeURIComponent(own.acknowledgement_id)}/undo`, { reason: text('reason'), ...actor }, state.key);
          state.done = true;
          ctx.close();
          ctx.notify('The acknowledgement was taken back');
        },
      })],
  });
}

/// A package can be had as the published JSON, and with all its evidence in an envelope that is verified offline.
const ENVELOPE = 'application/vnd.dsse+json';
const packagePath = (id) => `${B}/acknowledgements/audit-packages/${encodeURIComponent(id)}`;
export async function savePackage(ctx, id, envelope) {
  download(envelope ? `${id}.dsse.json` : `${id}.json`, await ctx.api.raw(packagePath(id), envelope ? ENVELOPE : undefined));
}
export const signedName = (ctx) => (ctx.config?.signing_key_id ? 'Signed (DSSE)' : 'With its evidence (DSSE, unsigned)');
/// How somebody checks a package without this service.
export function verifying(ctx, id) {
  if (ctx.sample) return null;
  const key = ctx.config?.signing_key_id;
  return h('div', { class: 'note' }, icon('file'), h('div', {}, h('p', {}, key ? ['The signed form can be verified offline, without this service: ', h('code', {}, `cavra verify ${id}.dsse.json --key KEY.pub`), '. ', h('code', {}, `cavra report ${id}.dsse.json --format html`), ' makes it readable.']
    : ['This service has no signing key, so its packages are unsigned: ', h('code', {}, `cavra verify ${id}.dsse.json`), ' finds whether one is consistent with itself, not who made it.']),
  key ? h('p', { class: 'quiet' }, 'Signed with ', h('code', {}, key), '. Get the public key from somewhere else than this page.') : null));
}

/// The audit package of what is shown: `suppressed` routes are shown as well, and in no package that does not ask for them.
export function exportPackage(ctx, filter, counts) {
  const asOf = ctx.asOf;
  const chosen = { envelope: Boolean(ctx.config?.signing_key_id) };
  flow(ctx, 'export', {
    first: 'ask',
    ask: (state, run) => {
      const choice = (value, label, hint) => h('label', { class: 'check' }, h('input', { type: 'radio', name: 'form', value, checked: (value === 'envelope') === chosen.envelope }), h('span', {}, label, h('span', { class: 'hint block' }, hint)));
      return [title('Export Ack Audit'), h('p', {}, 'One package with every route of this scope, each with its whole history: ', h('b', {}, inWords(filter)), asOf ? [', ', h('b', {}, 'as of ', /^\d+$/.test(asOf) ? `log position ${asOf}` : when(asOf))] : null, '.'),
        counts && !filter.action ? h('p', { class: 'quiet beside' }, `${many(counts.route_count, 'route')} that ${counts.route_count === 1 ? 'waits' : 'wait'} for an answer. `, counts.suppressed_count ? `The ${many(counts.suppressed_count, 'suppressed one')} that you see as well ${counts.suppressed_count === 1 ? 'is' : 'are'} counted as left out: filter by route action to export ${counts.suppressed_count === 1 ? 'it' : 'them'}.` : null) : null,
        ctx.sample ? h('div', { class: 'note is-warning' }, icon('warning'), h('p', {}, 'The package will say of itself that it is a sample.')) : null,
        form(ctx, state, run, {
          as: 'generated_by', label: 'Make and download', next: 'done', doing: 'Making the package, then fetching it',
          fields: ctx.sample ? null : h('fieldset', { class: 'stack-s' }, h('legend', { class: 'label' }, 'File'),
            choice('envelope', signedName(ctx), ctx.config?.signing_key_id ? `By ${ctx.config.signing_key_id}; verified offline with cavra verify` : 'This service has no signing key: it proves that nothing was changed inside, not who made it'),
            choice('plain', 'Plain JSON', 'The published shape, with its SHA-256 in the evidence')),
          send: async (text, actor) => {
            chosen.envelope = text('form') === 'envelope';
            state.data.made = await ctx.api.post(`${B}/acknowledgements/audit-package`, { ...filter, ...(asOf ? { as_of: asOf } : {}), ...actor }, state.key);
            // The stored bytes, so that the file has the digest that the evidence names.
            await savePackage(ctx, state.data.made.audit_package.audit_id, chosen.envelope);
          },
        })];
    },
    done: (state) => {
      const made = state.data.made.audit_package;
      const again = (envelope, label) => h('button', { class: 'button', onclick: () => savePackage(ctx, made.audit_id, envelope).catch(ctx.failed) }, label);
      return [title('The package is on its way to you'), packageFacts(made, state.data.made.metadata?.acknowledgement_audit_package || {}), verifying(ctx, made.audit_id),
        foot(ctx.sample ? again(false, 'Download again') : [again(true, signedName(ctx)), again(false, 'Plain JSON')], end(ctx))];
    },
  });
}

/// What a package covers, and what it left out.
export function packageFacts(made, summary = {}) {
  const left = Object.entries(made.population?.left_out || {}).filter(([, count]) => count);
  return h('dl', { class: 'facts' }, h('dt', {}, 'Package'), h('dd', {}, h('code', {}, made.audit_id)),
    made.as_of ? [h('dt', {}, 'State as of'), h('dd', {}, when(made.as_of.at), `, log position ${number(made.as_of.log_position)}`)] : null,
    h('dt', {}, 'Covers'), h('dd', {}, `${many(made.route_count, 'route')}, ${number(made.outstanding_count)} outstanding, ${number(made.breached_count ?? 0)} past their time `, badge(made.alert_level)),
    made.population ? [h('dt', {}, 'Left out'), h('dd', {}, left.length ? left.map(([term, count]) => `${number(count)} by ${words(term)}`).join(', ') : 'nothing', ` of ${many(made.population.known, 'known route')}`)] : null,
    made.evidence ? [h('dt', {}, 'Made from'), h('dd', {}, `${many(made.evidence.record_count, 'record')}, log position ${number(made.evidence.log_position)}`)] : null,
    summary.package_sha256 ? [h('dt', {}, 'SHA-256'), h('dd', {}, h('code', {}, summary.package_sha256))] : null);
}
