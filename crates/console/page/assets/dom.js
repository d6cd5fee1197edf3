// Elements without a framework: made by `h`, brought into the page by `morph`, which changes only what is different, so
// that focus, scroll and half-typed text survive every refresh.

const SVG = 'http://www.w3.org/2000/svg';
const EVENTS = ['click', 'input', 'change', 'submit', 'keydown', 'focusin', 'close', 'cancel'];

/// What every address within the page carries along, such as the moment that is looked at.
let carried = '';
export function carry(text) { carried = text; }
export function carrying(address) {
  if (!carried || !address.startsWith('#/') || /[?&]as_of=/.test(address)) return address;
  return `${address}${address.includes('?') ? '&' : '?'}${carried}`;
}

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) (node.$on ||= {})[name.slice(2)] = value;
    else if (name === 'value') { node.value = value; node.$value = value; }
    else if (name === 'checked') { node.checked = true; node.$checked = true; }
    else if (name === 'key') node.$key = String(value);
    else node.setAttribute(name, value === true ? '' : name === 'href' ? carrying(String(value)) : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === '') continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  // A select has its options only now.
  if (node.tagName === 'SELECT' && node.$value !== undefined) node.value = node.$value;
  return node;
}

export const h = (tag, attributes, ...children) => make(document.createElement(tag), tag === 'button' ? { type: 'button', ...attributes } : attributes, children);
export const s = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

/// A large part that follows from a few things: while they are the same, what is in the page stays as it is and nothing
/// is made. The part has an id, by which it is found.
export function still(id, from, make_) {
  const live = document.getElementById(id);
  if (live?.$from && from.every((one, index) => one === live.$from[index])) {
    const stub = live.cloneNode(false);
    return Object.assign(stub, { $key: live.$key, $still: true });
  }
  return Object.assign(make_(), { $from: from });
}

/// One listener per kind of event, at the root: nodes carry what they do, and `morph` hands it on.
export function listen(root) {
  for (const type of EVENTS) {
    root.addEventListener(type, (event) => {
      for (let node = event.target; node && node !== root.parentNode; node = node.parentNode) {
        const act = node.$on?.[type];
        if (act) { act(event, node); return; }
      }
    }, type === 'close' || type === 'cancel');
  }
}

const kin = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.$key === b.$key
  && (a.nodeType !== 1 || (a.id || '') === (b.id || ''));

function attributes(old, fresh) {
  // What a person opened stays open.
  const own = (name) => name === 'open' && (old.tagName === 'DETAILS' || old.tagName === 'DIALOG');
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !own(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (!own(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function morph(old, fresh) {
  if (fresh.$still) return;
  if (old.nodeType === 3) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  attributes(old, fresh);
  old.$on = fresh.$on;
  old.$from = fresh.$from;
  children(old, fresh);
  // What the program wants anew is set, unless somebody is typing there; what it only wants still, leaves alone what a
  // person has entered since.
  if (fresh.$value !== undefined && fresh.$value !== old.$value && (old !== document.activeElement || old.tagName === 'SELECT')) {
    if (old.value !== fresh.$value) old.value = fresh.$value;
    old.$value = fresh.$value;
  }
  if (fresh.$checked !== old.$checked) {
    old.checked = fresh.$checked === true;
    old.$checked = fresh.$checked;
  }
}

function children(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) if (child.$key !== undefined) keyed.set(child.$key, child);
  let here = old.firstChild;
  const all = [...fresh.childNodes];
  all.forEach((wanted, index) => {
    if (wanted.$key === undefined) {
      // What comes in between pushes the rest along; what is wanted nowhere any more makes way.
      while (here && here.$key === undefined && !kin(here, wanted) && !all.slice(index + 1).some((later) => kin(here, later))) {
        const gone = here;
        here = here.nextSibling;
        gone.remove();
      }
    }
    let match = wanted.$key !== undefined ? keyed.get(wanted.$key) : here;
    if (match && (match.parentNode !== old || !kin(match, wanted))) match = null;
    if (match) {
      if (match !== here) old.insertBefore(match, here);
      else here = here.nextSibling;
      morph(match, wanted);
    } else {
      old.insertBefore(wanted, here);
    }
  });
  while (here) {
    const gone = here;
    here = here.nextSibling;
    gone.remove();
  }
}

/// Puts nodes into a place.
export function fill(place, ...nodes) {
  const fresh = place.cloneNode(false);
  make(fresh, {}, nodes);
  fresh.$on = place.$on;
  morph(place, fresh);
}
