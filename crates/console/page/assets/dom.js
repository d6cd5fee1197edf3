// Elements without a framework: made by `h`, brought into the page by `morph`, which changes only what is different, so
// that focus, scroll and half-typed text survive every refresh.

const SVG = 'http://www.w3.org/2000/svg';
const EVENTS = ['click', 'input', 'change', 'submit', 'keydown', 'focusin', 'close', 'cancel'];

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) (node.$on ||= {})[name.slice(2)] = value;
    else if (name === 'value') { node.value = value; node.$value = value; }
    else if (name === 'checked') { node.checked = true; node.$checked = true; }
    else if (name === 'key') node.$key = String(value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === '') continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  // A select has its options only now.
  if (node.tagName === 'SELECT' && node.$value !== undefined) node.value = node.$value;
  return node;
}

export const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

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

export function morph(old, fresh) {
  if (old.nodeType === 3) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  attributes(old, fresh);
  old.$on = fresh.$on;
  children(old, fresh);
  // A value that the program sets is set, unless somebody is typing there.
  if (fresh.$value !== undefined && old !== document.activeElement && old.value !== fresh.$value) old.value = fresh.$value;
  if ('checked' in old && old.type && old !== document.activeElement && fresh.$checked !== undefined) old.checked = true;
}

function children(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) if (child.$key !== undefined) keyed.set(child.$key, child);
  let here = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    let match = wanted.$key !== undefined ? keyed.get(wanted.$key) : here;
    if (match && (match.parentNode !== old || !kin(match, wanted))) match = null;
    if (match) {
      if (match !== here) old.insertBefore(match, here);
      else here = here.nextSibling;
      morph(match, wanted);
    } else {
      old.insertBefore(wanted, here);
      if (here && wanted.$key === undefined && here.$key === undefined && kinds(here, wanted)) {
        const gone = here;
        here = here.nextSibling;
        gone.remove();
      }
    }
  }
  while (here) {
    const gone = here;
    here = here.nextSibling;
    gone.remove();
  }
}
const kinds = (a, b) => a.nodeType === b.nodeType;

/// Puts nodes into a place.
export function fill(place, ...nodes) {
  const fresh = place.cloneNode(false);
  make(fresh, {}, nodes);
  fresh.$on = place.$on;
  morph(place, fresh);
}
