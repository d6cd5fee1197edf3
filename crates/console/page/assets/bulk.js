// Acting on routes: preview, one confirmation bound to what was seen, outcomes, undo.
import { B, Refused, Unreachable, intent } from './api.js';
import { h } from './dom.js';
import { sentence as inWords } from './filter.js';
import { many, number, short, when, words } from './format.js';
import { actorField, actorOf, badge, button, download, errorBox, field, icon, rest, table, waiting } from './widgets.js';

const VERB = { acknowledged: 'Acknowledge', escalated: 'Escalate', dismissed: 'Dismiss', resolved: 'Resolve' };
const REASONS = {
  already_in_state: 'is in this state already', resolved_is_final: 'is resolved, and resolved is final', suppressed: 'is suppressed and waits for nothing',
  superseded: 'belongs to an earlier cycle', unknown_schedule: 'no such schedule', unknown_plan: 'no such plan', unknown_route: 'no such route',
  changed_since: 'somebody has changed it since', already_undone: 'was undone before',
};
const SHOWN = 200;

/// A dialog of steps that somebody goes through once. Its key is made with it, so however often the button is pressed
/// or the network fails, one thing is done.
function flow(ctx, name, steps) {
  const state = { step: steps.first, error: null, busy: false, key: intent(), data: {} };
  const dialog = {
    name, get busy() { return state.busy; },
    render: () => steps[state.step](state, run),
    closed: () => { if (state.done) ctx.refresh(); },
  };
  async function run(work, next) {
    if (state.busy) return;
    Object.assign(state, { busy: true, error: null });
    ctx.draw();
    try {
      await work();
      if (next) state.step = next;
    } catch (error) {
      state.error = error;
    } finally {
      state.busy = false;
      if (ctx.dialog === dialog) ctx.step();
    }
  }
  ctx.open(dialog);
  return { state, run };
}

const title = (text) => h('h2', { id: 'dialog-title', tabindex: '-1' }, text);
const foot = (...buttons) => h('div', { class: 'dialog-foot' }, buttons);
const cancel = (ctx, state, label = 'Cancel') => h('button', { type: 'button', class: 'button', key: 'cancel', 'aria-disabled': state.busy ? 'true' : null, onclick: () => { if (!state.busy) ctx.close(); } }, label);
const submit = (state, label, kind = '', first = true) => h('button', { type: 'submit', key: 'submit', class: `button primary ${kind}`, autofocus: first, 'aria-disabled': state.busy ? 'true' : null }, state.busy ? [h('span', { class: 'spinner' }), 'Working…'] : label);
const referenceFields = () => h('div', { class: 'two' },
  field('Reference', h('input', { name: 'external_ref', maxlength: 500, autocomplete: 'off', placeholder: 'CHG-4711' }), 'Ticket or change number'),
  field('Notes', h('input', { name: 'notes', maxlength: 4000, autocomplete: 'off' }), 'Why. Never a secret: such text is refused'));
const texts = (form) => {
  const data = new FormData(form);
  return { external_ref: String(data.get('external_ref') || '').trim(), notes: String(data.get('notes') || '').trim() };
};
/// A failed write may have been done all the same; with its key it can be sent again without harm.
const failed = (state) => (state.error ? [errorBox(state.error), state.error instanceof Unreachable ? h('p', { class: 'hint' }, 'It may or may not have arrived. Trying again is safe: it is done once.') : null] : null);

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

/// A bulk over what a filter means.
export function bulk(ctx, filter, said) {
  const body = (more) => ({ filter, acknowledgement_state: said, mode: 'best_effort', ...more });
  // A preview is made under a name that is recorded nowhere.
  const viewer = () => (ctx.session?.authenticated ? {} : { acknowledged_by: localStorage.getItem('cavra-name') || 'console-user' });
  const look = async (state) => {
    state.key = intent();
    state.data.preview = await ctx.api.post(`${B}/acknowledgements/bulk`, body({ dry_run: true, ...viewer() }), null, { prefer: 'return=minimal' });
  };
  const verb = VERB[said];
  const { state, run } = flow(ctx, `bulk-${said}`, {
    first: 'looking',
    looking: (state, run) => [title(`${verb}: looking…`), state.error ? [errorBox(state.error), foot(cancel(ctx, state, 'Close'), h('button', { type: 'button', class: 'button primary', onclick: () => run(() => look(state), 'preview') }, 'Try again'))] : waiting('Which routes would change?')],
    preview: (state, run) => {
      const answer = state.data.preview;
      const changed = state.error instanceof Refused && state.error.code === 'selection_changed';
      const commit = (event) => {
        event.preventDefault();
        const form = event.target;
        const actor = actorOf(ctx, form);
        const sent = body({ ...texts(form), expected_digest: answer.selection_digest, ...(actor.name === undefined ? {} : { acknowledged_by: actor.name }) });
        run(async () => {
          state.data.done = await ctx.api.post(`${B}/acknowledgements/bulk`, sent, state.key, { prefer: 'return=minimal' });
          state.done = true;
          ctx.say(`${many(state.data.done.changed_count, 'route')} ${said}.`);
          ctx.refresh();
        }, 'done');
      };
      return [
        title(changed ? 'The routes have changed' : answer.changed_count ? `${verb} ${many(answer.changed_count, 'route')}` : `Nothing to ${verb.toLowerCase()}`),
        h('p', {}, 'Scope: ', h('b', {}, inWords(filter)), changed ? null : h('span', { class: 'quiet' }, ` · what you confirm is exactly this preview `, h('code', { title: answer.selection_digest }, answer.selection_digest.slice(7, 19)))),
        changed ? null : sums(answer, 'will change'),
        changed ? difference(state.error, () => run(() => look(state), 'preview'), state) : failed(state),
        answer.refused_count + answer.already_count && !changed ? h('p', { class: 'quiet' }, 'Those that do not change come first, each with the reason.') : null,
        changed ? null : outcomes(byOutcome(answer.outcomes), 'Will be'),
        answer.changed_count && !changed
          ? h('form', { class: 'stack', onsubmit: commit }, referenceFields(), actorField(ctx), foot(cancel(ctx, state), submit(state, `${verb} ${many(answer.changed_count, 'route')}`, said === 'escalated' ? 'danger' : '', Boolean(ctx.session?.authenticated || localStorage.getItem('cavra-name')))))
          : foot(cancel(ctx, state, 'Close')),
      ];
    },
    done: (state) => {
      const answer = state.data.done;
      return [title(`${many(answer.changed_count, 'route')} ${said}`), h('div', { class: 'note is-healthy' }, icon('healthy'), h('div', {}, h('p', {}, 'Recorded as evidence in one transaction.'), h('p', { class: 'quiet' }, 'Bulk ', h('code', {}, answer.bulk_id)))),
        sums(answer, `now ${said}`), outcomes(byOutcome(answer.outcomes), 'Became'),
        foot(button(ctx, { key: 'undo', label: [icon('undo'), 'Undo…'], permission: 'drill.ack.undo', why: answer.changed_count ? '' : 'Nothing was changed.', act: () => undoBulk(ctx, answer.bulk_id, answer.changed_count) }),
          h('button', { type: 'button', class: 'button primary', key: 'end', autofocus: true, onclick: ctx.close }, 'Done'))];
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
    h('div', {}, h('button', { type: 'button', class: 'button primary', autofocus: true, 'aria-disabled': state.busy ? 'true' : null, onclick: again }, 'Look again'))));
}

/// Taking a bulk back.
export function undoBulk(ctx, bulkId, count) {
  flow(ctx, 'undo-bulk', {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const data = new FormData(event.target);
        const actor = actorOf(ctx, event.target);
        const sent = { reason: String(data.get('reason')).trim(), ...(actor.name === undefined ? {} : { undone_by: actor.name }) };
        run(async () => {
          state.data.done = await ctx.api.post(`${B}/acknowledgements/bulk/${encodeURIComponent(bulkId)}/undo`, sent, state.key, { prefer: 'return=minimal' });
          state.done = true;
          ctx.refresh();
        }, 'done');
      };
      return [title(count ? `Undo for ${many(count, 'route')}` : 'Undo this bulk'), h('p', {}, 'Each route goes back to what it was before, unless somebody has changed it since. The undo is new evidence; nothing is erased.'),
        failed(state), h('form', { class: 'stack', onsubmit: go }, field('Reason', h('input', { name: 'reason', required: true, maxlength: 4000, autocomplete: 'off', autofocus: true }), 'Becomes part of the evidence'), actorField(ctx), foot(cancel(ctx, state), submit(state, 'Undo', 'danger', false)))];
    },
    done: (state) => [title(`${many(state.data.done.changed_count, 'route')} taken back`), sums(state.data.done, 'taken back'), outcomes(byOutcome(state.data.done.outcomes), 'Became', true), foot(h('button', { type: 'button', class: 'button primary', autofocus: true, onclick: ctx.close }, 'Done'))],
  });
}

/// One route's answer.
export function answerOne(ctx, route, said) {
  flow(ctx, `answer-${said}`, {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const actor = actorOf(ctx, event.target);
        const sent = { provider: route.provider, owner: route.owner, plan_id: route.plan_id, acknowledgement_state: said, ...texts(event.target), ...(actor.name === undefined ? {} : { acknowledged_by: actor.name }) };
        run(async () => {
          await ctx.api.post(`${B}/${encodeURIComponent(route.schedule_id)}/acknowledgements`, sent, state.key);
          state.done = true;
          ctx.close();
          ctx.notify(`${route.schedule_id} over ${route.provider} is ${said}`);
        });
      };
      return [title(`${VERB[said]} one route`), h('p', {}, h('b', {}, route.schedule_id), ` over ${route.provider}, ${route.owner}: `, h('span', { class: 'nowrap' }, badge(route.acknowledgement_state), ' → ', badge(said))), failed(state),
        h('form', { class: 'stack', onsubmit: go }, referenceFields(), actorField(ctx), foot(cancel(ctx, state), submit(state, VERB[said], said === 'escalated' ? 'danger' : '', Boolean(ctx.session?.authenticated || localStorage.getItem('cavra-name')))))];
    },
  });
}

/// Taking one acknowledgement back.
export function undoOne(ctx, record, route) {
  const own = record.acknowledgement;
  flow(ctx, 'undo-one', {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const actor = actorOf(ctx, event.target);
        const sent = { reason: String(new FormData(event.target).get('reason')).trim(), ...(actor.name === undefined ? {} : { undone_by: actor.name }) };
        run(async () => {
          await ctx.api.post(`${B}/acknowledgements/${encodeURIComponent(own.acknowledgement_id)}/undo`, sent, state.key);
          state.done = true;
          ctx.close();
          ctx.notify('The acknowledgement was taken back');
        });
      };
      return [title(`Undo “${own.acknowledgement_state}”`), h('p', {}, `${own.acknowledged_by} said so about ${route.schedule_id} over ${route.provider}${own.owner ? `, ${own.owner}` : ', every owner'}. The route goes back to what it was before.`), failed(state),
        h('form', { class: 'stack', onsubmit: go }, field('Reason', h('input', { name: 'reason', required: true, maxlength: 4000, autocomplete: 'off', autofocus: true })), actorField(ctx), foot(cancel(ctx, state), submit(state, 'Undo', 'danger', false)))];
    },
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

/// The audit package of what is shown.
export function exportPackage(ctx, filter) {
  const asOf = ctx.asOf;
  const form = { envelope: Boolean(ctx.config?.signing_key_id) };
  flow(ctx, 'export', {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const actor = actorOf(ctx, event.target);
        form.envelope = new FormData(event.target).get('form') === 'envelope';
        run(async () => {
          const made = await ctx.api.post(`${B}/acknowledgements/audit-package`, { ...filter, ...(asOf ? { as_of: asOf } : {}), ...(actor.name === undefined ? {} : { generated_by: actor.name }) }, state.key);
          state.done = true;
          state.data.made = made;
          // The stored bytes, so that the file has the digest that the evidence names.
          await savePackage(ctx, made.audit_package.audit_id, form.envelope);
        }, 'done');
      };
      const choice = (value, label, hint) => h('label', { class: 'check' }, h('input', { type: 'radio', name: 'form', value, checked: (value === 'envelope') === form.envelope }), h('span', {}, label, h('span', { class: 'hint block' }, hint)));
      return [title('Export Ack Audit'), h('p', {}, 'One package with every route of this scope, each with its whole history: ', h('b', {}, inWords(filter)), asOf ? [', ', h('b', {}, 'as of ', /^\d+$/.test(asOf) ? `log position ${asOf}` : when(asOf))] : null, '.'),
        filter.action ? null : h('p', { class: 'hint' }, 'A package is about routes that wait for an answer; suppressed ones are counted as left out. Filter by route action to export those.'),
        ctx.sample ? h('div', { class: 'note is-warning' }, icon('warning'), h('p', {}, 'The package will say of itself that it is a sample.')) : null, failed(state),
        h('form', { class: 'stack', onsubmit: go },
          ctx.sample ? null : h('fieldset', { class: 'stack-s' }, h('legend', { class: 'label' }, 'File'),
            choice('envelope', signedName(ctx), ctx.config?.signing_key_id ? `By ${ctx.config.signing_key_id}; verified offline with cavra verify` : 'This service has no signing key: it proves that nothing was changed inside, not who made it'),
            choice('plain', 'Plain JSON', 'The published shape, with its SHA-256 in the evidence')),
          actorField(ctx), foot(cancel(ctx, state), submit(state, 'Make and download', '', Boolean(ctx.session?.authenticated || localStorage.getItem('cavra-name')))))];
    },
    done: (state) => {
      const made = state.data.made.audit_package;
      const again = (envelope, label) => h('button', { type: 'button', class: 'button', onclick: () => savePackage(ctx, made.audit_id, envelope).catch(ctx.failed) }, label);
      return [title('The package is on its way to you'), packageFacts(made, state.data.made.metadata?.acknowledgement_audit_package || {}), verifying(ctx, made.audit_id),
        foot(ctx.sample ? again(false, 'Download again') : [again(true, signedName(ctx)), again(false, 'Plain JSON')], h('button', { type: 'button', class: 'button primary', autofocus: true, onclick: ctx.close }, 'Done'))];
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
export { cancel, failed, flow, foot, submit, title };
