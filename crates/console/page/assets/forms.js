// Dialogs of steps, and their forms: the fields, who does it, one button, how long it takes, and what went wrong.
import { Unreachable, intent } from './api.js';
import { h } from './dom.js';
import { bytes } from './format.js';
import { errorBox, field } from './widgets.js';

/// A dialog of steps that somebody goes through once. Its key is made with it, so however often the button is pressed
/// or the network fails, one thing is done.
export function flow(ctx, name, steps) {
  const state = { step: steps.first, error: null, busy: false, key: intent(), data: {} };
  const dialog = {
    // What only looks can be left at any time.
    name, get busy() { return state.busy && state.step !== 'looking'; },
    render: () => steps[state.step](state, run),
    closed: () => { if (state.done) ctx.refresh(); },
  };
  async function run(work, next, doing) {
    if (state.busy) return;
    Object.assign(state, { busy: true, error: null, doing, since: Date.now(), got: 0 });
    ctx.api.got = (count) => { state.got = count; };
    const beat = setInterval(ctx.draw, 500);
    ctx.draw();
    try {
      await work();
      if (next) state.step = next;
    } catch (error) {
      state.error = error;
    } finally {
      clearInterval(beat);
      ctx.api.got = null;
      state.busy = false;
      if (ctx.dialog === dialog) ctx.step();
    }
  }
  ctx.open(dialog);
  return { state, run };
}

export const title = (text) => h('h2', { id: 'dialog-title', tabindex: '-1' }, text);
export const foot = (...buttons) => h('div', { class: 'dialog-foot' }, buttons);
export const cancel = (ctx, state, label = 'Cancel') => h('button', { class: 'button', key: 'cancel', 'aria-disabled': state.busy ? 'true' : null, onclick: () => { if (!state.busy) ctx.close(); } }, label);
export const end = (ctx) => h('button', { class: 'button primary', key: 'end', autofocus: true, onclick: ctx.close }, 'Done');

/// What takes long says what it is, since when, and what has come of it.
export function working(state, text) {
  const seconds = Math.floor((Date.now() - state.since) / 1000);
  return h('div', { class: 'working', key: 'working' }, h('progress', { 'aria-label': text }), h('p', { role: 'status' }, `${text}…`),
    h('p', { class: 'quiet', 'aria-hidden': 'true' }, [seconds ? `${seconds} s` : '', state.got ? `${bytes(state.got)} received` : ''].filter(Boolean).join(', ')));
}
/// A failed write may have been done all the same; with its key it can be sent again without harm.
const failed = (state) => (state.error ? [errorBox(state.error), state.error instanceof Unreachable ? h('p', { class: 'hint' }, 'It may or may not have arrived. Trying again is safe: it is done once.') : null] : null);

/// The name under which somebody acts where nobody is verified; kept in this browser.
export const actorName = () => localStorage.getItem('cavra-name') || 'console-user';
function actorField(ctx) {
  if (ctx.session?.authenticated) return h('p', { class: 'hint' }, 'Recorded as ', h('b', {}, ctx.session.actor.actor), ', verified.');
  return field('Your name', h('input', { name: 'actor', required: true, maxlength: 200, autocomplete: 'name', value: actorName() }), 'Nobody is verified here, so it is recorded as unverified.');
}

/// A form: `send` gets what was entered, and who did it under the name that the API has for that. A form in which
/// nothing has to be entered begins at its button.
export function form(ctx, state, run, { as, fields, label, kind = '', typed = false, send, next, doing }) {
  const go = (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const text = (name) => String(data.get(name) || '').trim();
    const actor = {};
    if (!ctx.session?.authenticated) {
      actor[as] = text('actor');
      localStorage.setItem('cavra-name', actor[as]);
    }
    run(async () => { await send(text, actor); state.done = true; }, next, doing);
  };
  return [failed(state), h('form', { class: 'stack', onsubmit: go }, fields, actorField(ctx), state.busy && Date.now() - state.since > 400 ? working(state, doing || label) : null,
    foot(cancel(ctx, state), h('button', { type: 'submit', key: 'submit', class: `button primary ${kind}`, autofocus: !typed, 'aria-disabled': state.busy ? 'true' : null }, state.busy ? [h('span', { class: 'spinner' }), 'Working…'] : label)))];
}

export const reasonField = () => field('Reason', h('input', { name: 'reason', required: true, maxlength: 4000, autocomplete: 'off', autofocus: true }), 'Becomes part of the evidence');
export const referenceFields = () => h('div', { class: 'two' },
  field('Reference', h('input', { name: 'external_ref', maxlength: 500, autocomplete: 'off', placeholder: 'CHG-4711' }), 'Ticket or change number'),
  field('Notes', h('input', { name: 'notes', maxlength: 4000, autocomplete: 'off' }), 'Why. Never a secret: such text is refused'));
