// An earlier state: a time or a position of the log, kept in the address, and never to be taken for now.
import { h } from './dom.js';
import { localTime, number, stamp, utc, when } from './format.js';
import { field, icon } from './widgets.js';

const isPosition = (asOf) => /^\d+$/.test(asOf);

/// The same screen as it was, or as it is.
export function lookAt(ctx, asOf) {
  const parameters = new URLSearchParams(ctx.parameters);
  if (asOf) parameters.set('as_of', asOf);
  else parameters.delete('as_of');
  for (const term of ['route', 'from']) parameters.delete(term);
  ctx.go(`#/${ctx.page}${parameters.size ? `?${parameters}` : ''}`, { moment: asOf });
}

/// Over every screen while it shows an earlier state.
export function pastStrip(ctx) {
  const at = ctx.moment;
  return h('section', { class: 'strip is-past', 'aria-label': 'Earlier state', key: 'past' }, icon('history'),
    h('span', { class: 'spread' }, h('b', {}, 'This is not now. '), 'State as of ',
      isPosition(ctx.asOf) ? [`log position ${number(Number(ctx.asOf))}`, at ? [', ', when(at)] : null] : when(ctx.asOf),
      at ? h('span', { class: 'utc' }, ` (${stamp(at)})`) : null, '. Nothing can be changed here.'),
    h('button', { class: 'button small', onclick: () => choose(ctx) }, 'Another moment…'),
    h('button', { class: 'button small primary', id: 'to-now', onclick: () => lookAt(ctx, '') }, 'Back to now'));
}

/// Asks for the moment.
export function choose(ctx) {
  const known = ctx.asOf && !isPosition(ctx.asOf) ? Date.parse(ctx.asOf) : NaN;
  const go = (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const position = String(data.get('position') || '').trim();
    const time = String(data.get('time') || '');
    if (!position && !time) return;
    ctx.close();
    lookAt(ctx, position || utc(time));
  };
  ctx.open({ name: 'past', render: () => [h('h2', { id: 'dialog-title', tabindex: '-1' }, 'State as of'),
    h('p', {}, 'Routes, numbers, history and packages as they were then, made anew from the evidence. The address keeps the moment, so it can be shared.'),
    h('form', { class: 'stack', onsubmit: go }, h('div', { class: 'two' },
      field('Time', h('input', { name: 'time', type: 'datetime-local', step: 1, autofocus: true, value: localTime(Number.isFinite(known) ? known : Date.now() - 3600000), oninput: (event) => { event.target.form.position.value = ''; } }), 'In your own time zone'),
      field('or log position', h('input', { name: 'position', inputmode: 'numeric', pattern: '[1-9][0-9]*', maxlength: 16, autocomplete: 'off', value: isPosition(ctx.asOf) ? ctx.asOf : '' }), 'After so many records; a package names its own')),
    h('div', { class: 'dialog-foot' }, h('button', { class: 'button', onclick: ctx.close }, 'Cancel'), h('button', { type: 'submit', class: 'button primary' }, 'Show')))] });
}
