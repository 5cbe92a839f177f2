// The document, from a status. What is there is changed in place, so that focus, selection and what is unfolded survive.
// Names come from strangers: everything is set as text, nothing as markup.

import * as words from './words.js';

const COLOURS = 8;
export const byId = (id) => document.getElementById(id);

/** Sets a text, unless it is there: a selection is kept, a screen reader is not woken. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The element of a template with its named parts. */
export function stamp(id) {
  const element = byId(id).content.firstElementChild.cloneNode(true);
  element.at = {};
  for (const part of element.querySelectorAll('[data-at]')) element.at[part.dataset.at] = part;
  return element;
}

/** Makes `container` hold one element for each item, in order; elements are known by their keys and kept. */
export function reconcile(container, items, keyOf, make, update) {
  const old = new Map([...container.children].filter((child) => child.key !== undefined).map((child) => [child.key, child]));
  const wanted = items.map((item, index) => {
    const key = keyOf(item, index);
    const element = old.get(key) ?? make(item);
    old.delete(key);
    element.key = key;
    update(element, item, index);
    return element;
  });
  for (const element of old.values()) {
    // Whoever was in it goes on from the heading of its section.
    const inside = element.contains(document.activeElement);
    const heading = container.closest('section')?.querySelector('h2');
    element.remove();
    if (inside) heading?.focus();
  }
  let place = [...container.children].find((child) => child.key !== undefined) ?? null;
  for (const element of wanted) {
    if (element === place) place = place.nextElementSibling;
    else container.insertBefore(element, place);
  }
}

function there(id, many) {
  byId(`${id}-there`)?.toggleAttribute('hidden', many === 0);
  byId(`${id}-empty`).toggleAttribute('hidden', many > 0);
}

export function drawTop(status) {
  setText(byId('version'), `version ${status.version}`);
  setText(byId('uptime'), `up ${words.span(status.uptime_seconds)}`);
  byId('copy-address').toggleAttribute('hidden', !status.addresses?.length);
}

export function drawTotals(status) {
  const { files, fetches, clients, peers, totals } = status;
  const whole = files.filter((file) => file.complete);
  const sum = (list, key) => list.reduce((all, one) => all + (one[key] ?? 0), 0);
  const served = files.filter((file) => file.served).length;
  setText(byId('total-held'), words.bytes(sum(whole, 'size')));
  setText(byId('total-held-more'), `${words.count(whole.length, 'file')}, ${served} served`);
  setText(byId('total-fetch'), words.rate(sum(fetches, 'rate_bytes_s')));
  setText(byId('total-fetch-more'), words.count(fetches.length, 'file'));
  setText(byId('total-sent'), words.bytes(totals.sent_bytes));
  setText(byId('total-sent-more'), `${words.rate(sum(clients, 'rate_bytes_s'))} to ${words.count(clients.length, 'client')}`);
  setText(byId('total-received'), words.bytes(totals.received_bytes));
  setText(byId('total-received-more'), 'since the start');
  setText(byId('total-peers'), String(peers.length));
  setText(byId('total-peers-more'), `${peers.filter((peer) => peer.lan).length} on this network`);
}

export function drawFetches(fetches) {
  there('fetching', fetches.length);
  reconcile(byId('fetches'), fetches, (fetch) => String(fetch.id), () => stamp('fetch-item'), drawFetch);
}

function drawFetch(element, fetch) {
  const { at } = element;
  const done = fetch.size > 0 ? words.percent(fetch.have_bytes, fetch.size) : null;
  const left = done !== null && fetch.rate_bytes_s > 0 ? `, ${words.span((fetch.size - fetch.have_bytes) / fetch.rate_bytes_s)} left` : '';
  const known = done !== null ? ` of ${words.bytes(fetch.size)} (${done} %)` : '';
  const figures = `${words.bytes(fetch.have_bytes)}${known}, ${words.rate(fetch.rate_bytes_s)}${left}`;
  setText(at.name, fetch.name || fetch.root || 'a file');
  setText(at.figures, figures);
  at.bar.setAttribute('aria-label', `Fetching ${fetch.name || fetch.root || 'a file'}`);
  // Without a size there is no telling how far it is.
  if (done === null) at.bar.removeAttribute('aria-valuenow');
  else at.bar.setAttribute('aria-valuenow', String(done));
  at.bar.setAttribute('aria-valuetext', figures);
  const given = fetch.sources.reduce((all, source) => all + source.bytes, 0);
  const kept = Math.max(0, fetch.have_bytes - given);
  const parts = fetch.sources.map((source) => ({ ...source, key: `${source.kind} ${source.place}` }));
  if (kept > 0 && fetch.sources.length > 0) parts.unshift({ key: 'kept', kind: 'kept', place: 'from before', bytes: kept });
  const colours = colourOf(parts);
  reconcile(at.bar, parts, (part) => part.key, () => document.createElement('span'), (piece, part) => {
    piece.className = `c${colours.get(part.key)}`;
    // More may have been sent than was needed: the bar shows shares of what is there.
    const shown = given + kept > 0 ? (part.bytes / (given + kept)) * Math.min(1, fetch.have_bytes / (fetch.size || fetch.have_bytes || 1)) : 0;
    piece.style.width = `${(shown * 100).toFixed(2)}%`;
  });
  reconcile(at.sources, parts, (part) => part.key, () => stamp('source-item'), (item, part) => {
    item.at.swatch.className = `swatch c${colours.get(part.key)}`;
    setText(item.at.kind, words.sourceKind(part.kind));
    setText(item.at.place, part.place);
    setText(item.at.share, `${words.bytes(part.bytes)}, ${words.percent(part.bytes, given + kept)} %`);
  });
}

/** A source keeps its colour while its fetch runs, as long as the list only grows. */
const colourOf = (parts) => {
  let next = 1;
  return new Map(parts.map((part) => [part.key, part.key === 'kept' ? 0 : ((next++ - 1) % (COLOURS - 1)) + 1]));
};

export function drawFiles(files, copy) {
  there('files', files.length);
  const sorted = [...files].sort((a, b) => a.name.localeCompare(b.name) || (a.path ?? '').localeCompare(b.path ?? ''));
  const table = byId('files-there').firstElementChild;
  const seen = new Map();
  const keyOf = (file) => {
    const key = file.path || `${file.name} ${file.roots?.[0]}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    return `${key} ${seen.get(key)}`;
  };
  reconcile(table, sorted, keyOf, () => makeFile(copy), drawFile);
}

let rows = 0;

function makeFile(copy) {
  const element = stamp('file-row');
  const { at } = element;
  rows += 1;
  at.details.id = `details-${rows}`;
  at.more.setAttribute('aria-controls', at.details.id);
  at.more.addEventListener('click', () => {
    const closed = at.details.toggleAttribute('hidden');
    at.more.setAttribute('aria-expanded', String(!closed));
  });
  const name = () => element.file.name || 'the file';
  at['copy-url'].addEventListener('click', () => copy(words.ipfsUrl(element.file), `URL of ${name()}`, at['copy-url-text']));
  at['copy-yaml'].addEventListener('click', () => copy(words.yaml(element.file), `YAML of ${name()}`, at['copy-yaml-text']));
  return element;
}

function drawFile(element, file) {
  const { at } = element;
  element.file = file;
  const name = file.name || 'without a name';
  setText(at.name, name);
  setText(at.kind, words.fileKind(file.kind));
  setText(at.size, file.size > 0 || file.complete ? words.bytes(file.size) : '–');
  const [state, text] = file.served ? (file.complete ? ['good', 'Served'] : ['part', 'Served in part'])
    : file.complete ? ['off', 'Not served'] : ['part', 'Not complete'];
  at.served.dataset.state = state;
  setText(at.served, text);
  setText(at.why, file.why_not ?? '');
  const root = file.roots?.[0] ?? '';
  const digest = file.digests?.[0] ?? '';
  setText(at.cid, root ? words.short(root) : '');
  setText(at.digest, digest ? words.shortDigest(digest) : '');
  for (const part of ['copy-url', 'copy-yaml', 'more']) setText(at[`${part}-of`], ` of ${name}`);
  at['copy-url'].toggleAttribute('hidden', words.ipfsUrl(file) === null);
  at['copy-yaml'].toggleAttribute('hidden', words.yaml(file) === null);
  const all = [['Path', file.path], ['Origin', file.url], ...(file.roots ?? []).map((one) => ['CID', one]),
    ...(file.digests ?? []).map((one) => ['Digest', one])].filter(([, value]) => value);
  drawPairs(at['detail-rows'], all);
}

/** Names and values; equal names are told apart by their order. */
function drawPairs(list, pairs) {
  const make = () => {
    const row = document.createElement('div');
    row.append(document.createElement('dt'), document.createElement('dd'));
    return row;
  };
  reconcile(list, pairs, (_, index) => String(index), make, (row, [name, value]) => {
    setText(row.firstElementChild, name);
    setText(row.lastElementChild, value);
  });
}

export function drawClients(clients) {
  there('serving', clients.length);
  reconcile(byId('client-rows'), clients, (client) => `${client.kind} ${client.who}`, () => stamp('client-row'), ({ at }, client) => {
    setText(at.who, words.short(client.who, 26, 8));
    setText(at.kind, client.kind === 'http' ? 'HTTP' : client.kind);
    setText(at.rate, words.rate(client.rate_bytes_s));
    setText(at.bytes, words.bytes(client.bytes));
  });
}

export function drawPeers(peers) {
  there('peers', peers.length);
  const sorted = [...peers].sort((a, b) => Number(b.lan) - Number(a.lan) || a.peer_id.localeCompare(b.peer_id));
  reconcile(byId('peer-rows'), sorted, (peer) => peer.peer_id, () => stamp('peer-row'), ({ at }, peer) => {
    setText(at.peer, words.short(peer.peer_id, 8, 8));
    at.lan.toggleAttribute('hidden', !peer.lan);
    setText(at.address, (peer.address ?? '').replace(/\/p2p\/[^/]+$/, ''));
    setText(at.http, peer.http ? `files by HTTP at ${peer.http}` : '');
    setText(at.agent, peer.agent || 'not told');
    setText(at.rtt, Number.isFinite(peer.rtt_ms) ? `${peer.rtt_ms < 10 ? peer.rtt_ms.toFixed(1) : Math.round(peer.rtt_ms)} ms` : '–');
    setText(at.sent, words.bytes(peer.sent_bytes));
    setText(at.received, words.bytes(peer.received_bytes));
  });
}

export function drawSettings(status) {
  const own = [['Gateway', status.gateway], ['Peer ID', status.peer_id], ['Addresses', (status.addresses ?? []).join('\n')]];
  const set = Object.entries(status.settings ?? {}).map(([key, value]) => [words.settingName(key), words.settingValue(key, value)]);
  drawPairs(byId('setting-rows'), [...own.filter(([, value]) => value), ...set]);
}
