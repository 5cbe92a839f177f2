// The dashboard: asks callao once a second how things are, and has them drawn. Knows no element of a table.

import * as draw from './draw.js';
import * as words from './words.js';
import { isBusy, send } from './send.js';

const PERIOD_MS = 1000;
const PERIOD_HIDDEN_MS = 30000;
const PERIOD_LOST_MS_MAX = 5000;
const ANSWER_MS_MAX = 5000;
const COPIED_MS = 2000;

const { byId, setText } = draw;
let timer = 0;
let asking = false;
let failures = 0;
let lastGood = 0;
let version = null;
let before = new Map();
let current = null;

/** Tells a screen reader, politely. */
function say(text) {
  const said = byId('said');
  // The same words twice are not news to it otherwise.
  setText(said, said.textContent === text ? `${text}\u00a0` : text);
}

async function look() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    const answer = await fetch('/callao/v1/status', { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    if (!answer.ok) throw new Error(`callao answered ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    lost(error);
  }
  asking = false;
  timer = setTimeout(look, pause());
}

function pause() {
  if (document.hidden) return PERIOD_HIDDEN_MS;
  return failures === 0 ? PERIOD_MS : Math.min(PERIOD_MS * 2 ** (failures - 1), PERIOD_LOST_MS_MAX);
}

function show(status) {
  if (version !== null && version !== status.version && !isBusy()) {
    // callao was replaced while the page was open: its pages may have changed too.
    location.reload();
    return;
  }
  version = status.version;
  if (failures > 0 && lastGood > 0) say('Connected to callao again');
  failures = 0;
  lastGood = Date.now();
  current = status;
  byId('lost').hidden = true;
  link('live', 'Live');
  draw.drawTop(status);
  draw.drawTotals(status);
  draw.drawFetches(status.fetches);
  draw.drawFiles(status.files, copy);
  draw.drawPeers(status.peers);
  draw.drawClients(status.clients);
  draw.drawSettings(status);
  tellEnded(status);
}

/** Says which fetches have ended since the last look, and how. */
function tellEnded(status) {
  const now = new Map(status.fetches.map((one) => [one.id, one]));
  for (const [id, fetch] of before) {
    if (now.has(id)) continue;
    const whole = status.files.some((file) => file.complete && fetch.root && file.roots.includes(fetch.root));
    say(`${fetch.name || 'A file'}: ${whole ? 'complete' : 'no longer being fetched'}`);
  }
  before = now;
}

function lost(error) {
  failures += 1;
  // One answer that is late is no news.
  if (failures < 2 && lastGood > 0 && error.name === 'TimeoutError') return;
  link('lost', 'Connection lost');
  const since = lastGood > 0 ? ` What is below is ${words.span((Date.now() - lastGood) / 1000)} old.` : '';
  const notice = byId('lost');
  setText(notice, `callao does not answer; trying again. Is callao serve running?${since}`);
  if (notice.hidden) say('Connection to callao lost; trying again');
  notice.hidden = false;
}

function link(state, text) {
  byId('link').dataset.state = state;
  setText(byId('link-text'), text);
}

async function copy(text, what, label) {
  const done = await toClipboard(text);
  say(done ? `Copied: ${what}` : `${what} cannot be copied here; it is in the details`);
  const usual = label.dataset.usual ?? label.textContent;
  label.dataset.usual = usual;
  setText(label, done ? 'Copied' : 'Not copied');
  clearTimeout(label.timer);
  label.timer = setTimeout(() => setText(label, usual), COPIED_MS);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function take(files) {
  if (files.length > 0) send(files, say, look);
}

/** The files of a drop; a folder is no file, and a browser would send nonsense for it. */
function dropped(transfer) {
  const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory === true;
  if ([...transfer.items].some(isFolder)) say('Folders cannot be added here');
  return [...transfer.items].filter((item) => item.kind === 'file' && !isFolder(item)).map((item) => item.getAsFile());
}

function wire() {
  byId('add').addEventListener('click', () => byId('chosen').click());
  byId('chosen').addEventListener('change', (event) => {
    take([...event.target.files]);
    event.target.value = '';
  });
  const address = byId('copy-address');
  address.addEventListener('click', () => copy(reachable(current.addresses), 'address of this node', byId('copy-address-text')));
  const drop = byId('drop');
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    drop.hidden = false;
  });
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) drop.hidden = true;
  });
  addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.hidden = true;
    take(dropped(event.dataTransfer));
  });
  addEventListener('beforeunload', (event) => {
    if (isBusy()) event.preventDefault();
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) look();
  });
}

/** The address that somebody else can use best: not one of loopback, if there is another. */
function reachable(addresses) {
  return addresses.find((one) => !/^\/ip4\/127\.|^\/ip6\/::1\//.test(one)) ?? addresses[0];
}

wire();
look();
