// Files on their way to callao: one after the other, each with its progress, until they are there or have failed.

import * as words from './words.js';
import { byId, setText, stamp } from './draw.js';

const waiting = [];
let running = null;

/** Whether something would be lost if the page went away. */
export const isBusy = () => running !== null || waiting.length > 0;

/** Sends these files; `say` tells the screen reader, `added` is called when one is there. */
export function send(files, say, added) {
  for (const file of files) {
    const item = stamp('sending-item');
    setText(item.at.name, file.name);
    setText(item.at['stop-of'], ` ${file.name}`);
    setText(item.at.state, 'waiting');
    item.at.progress.setAttribute('aria-label', `Sending ${file.name}`);
    const job = { file, item, request: null, say, added };
    item.at.stop.addEventListener('click', () => stop(job));
    byId('sending').append(item);
    waiting.push(job);
  }
  next();
}

function next() {
  if (running || waiting.length === 0) return;
  running = waiting.shift();
  const { file, item } = running;
  const job = running;
  const request = new XMLHttpRequest();
  job.request = request;
  request.open('POST', `/callao/v1/add?name=${encodeURIComponent(file.name)}`);
  request.responseType = 'json';
  request.upload.addEventListener('progress', (event) => {
    item.at.progress.value = words.percent(event.loaded, event.total);
    setText(item.at.state, `${words.bytes(event.loaded)} of ${words.bytes(event.total)}`);
  });
  request.upload.addEventListener('load', () => {
    item.at.progress.removeAttribute('value');
    setText(item.at.state, 'being read and hashed');
  });
  request.addEventListener('load', () => {
    const { cid, roots, truncated } = request.response ?? {};
    if (request.status === 200 && truncated) finish(job, 'good', 'is there now, as far as it goes: it ends in the middle of a block');
    else if (request.status === 200 && (cid || roots)) finish(job, 'good', 'is there now');
    else finish(job, 'bad', reason(request));
  });
  request.addEventListener('error', () => finish(job, 'bad', 'the connection broke off; nothing of it was kept'));
  request.addEventListener('abort', () => finish(job, 'off', 'cancelled; nothing of it was kept'));
  request.setRequestHeader('Content-Type', 'application/octet-stream');
  request.send(file);
}

function reason(request) {
  const { message, hints } = request.response ?? {};
  return message ? [message, ...(hints ?? [])].join('; ') : `callao answered ${request.status}`;
}

function finish(job, state, text) {
  const { item, file } = job;
  running = null;
  job.done = true;
  item.dataset.state = state;
  item.at.progress.hidden = true;
  setText(item.at.state, text);
  setText(item.at['stop-text'], 'Dismiss');
  job.say(`${file.name}: ${text}`);
  if (state === 'good') job.added();
  next();
}

function stop(job) {
  if (!job.done && job.request) {
    job.request.abort();
    return;
  }
  const at = waiting.indexOf(job);
  if (at >= 0) waiting.splice(at, 1);
  job.item.remove();
  byId('add').focus();
}
