// What is shown, as text: sizes, times, names of things, the lines of a template. Pure: no document, no network.

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `453 MiB`: three figures, powers of 1024. */
export function bytes(count) {
  if (!Number.isFinite(count)) return '–';
  if (count < 1024) return `${Math.round(count)} B`;
  let value = count / 1024;
  let unit = 0;
  while (value >= 999.5 && unit + 1 < UNITS.length) {
    value /= 1024;
    unit += 1;
  }
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

export const rate = (perSecond) => `${bytes(perSecond)}/s`;

/** `12 s`, `3 min 5 s`, `2 h 1 min`, `4 d 3 h`. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Never 100 before everything is there. */
export function percent(part, whole) {
  if (!(whole > 0)) return part >= whole ? 100 : 0;
  return Math.min(100, Math.floor((part * 100) / whole));
}

/** `1 file`, `2 files`. */
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** Both ends of a long name: those are what people compare. */
export function short(text, head = 10, tail = 6) {
  return text.length <= head + tail + 1 ? text : `${text.slice(0, head)}…${text.slice(-tail)}`;
}

/** `sha256:0123456789…cdef01`. */
export function shortDigest(text) {
  const [algorithm, hex = ''] = text.split(':');
  return `${algorithm}:${short(hex, 8, 6)}`;
}

const KINDS = { lima: 'Lima’s cache', user: 'your file', car: 'CAR file', fetching: 'on its way' };
export const fileKind = (kind) => KINDS[kind] ?? kind;

const SOURCES = { http: 'HTTPS', gateway: 'gateway', oci: 'registry', kubo: 'kubo', lan: 'LAN', bitswap: 'bitswap', file: 'file' };
export const sourceKind = (kind) => SOURCES[kind] ?? kind.replaceAll('_', ' ');

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** A CID as the host of a URL takes it: version 1, lower case. Others than version 0 are that already. */
export function cidForUrl(cid) {
  if (!/^Qm[1-9A-HJ-NP-Za-km-z]{44}$/.test(cid)) return cid;
  let value = 0n;
  for (const letter of cid) value = value * 58n + BigInt(BASE58.indexOf(letter));
  // A multihash of sha2-256 is 34 bytes; before it: version 1, dag-pb.
  const hex = `0170${value.toString(16).padStart(68, '0')}`;
  let text = 'b';
  let pending = 0;
  let bits = 0;
  for (let at = 0; at < hex.length; at += 2) {
    pending = (pending << 8) | parseInt(hex.slice(at, at + 2), 16);
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(pending >> bits) & 31];
    }
    pending &= (1 << bits) - 1;
  }
  return bits > 0 ? text + BASE32[(pending << (5 - bits)) & 31] : text;
}

/** The `ipfs://` URL of a file, as `callao add` prints it; null if its CID is not known. */
export function ipfsUrl(file) {
  const root = file.roots?.[0];
  if (!root) return null;
  const url = `ipfs://${cidForUrl(root)}`;
  if (file.kind === 'car' || !file.name) return url;
  const name = [...new TextEncoder().encode(file.name)].map((byte) => {
    const letter = String.fromCharCode(byte);
    return /[A-Za-z0-9\-._~+@]/.test(letter) ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
  return `${url}/${name.join('')}`;
}

const ARCHES = [['x86_64', 'x86_64'], ['amd64', 'x86_64'], ['aarch64', 'aarch64'], ['arm64', 'aarch64'], ['armv7l', 'armv7l'],
  ['ppc64le', 'ppc64le'], ['riscv64', 'riscv64'], ['s390x', 's390x']];

/** The lines for `images:` of a template; null if nothing pins the file. The origin is named where there is one. */
export function yaml(file) {
  const location = file.url || ipfsUrl(file);
  const digest = file.digests?.[0];
  if (!location || file.kind === 'car' || !(digest || file.roots?.length)) return null;
  const arch = ARCHES.find(([word]) => (file.name ?? '').includes(word))?.[1];
  const lines = [`- location: ${JSON.stringify(location)}`];
  if (arch) lines.push(`  arch: "${arch}"`);
  if (digest) lines.push(`  digest: "${digest}"`);
  if (file.roots?.length) lines.push(`  cid: ${file.roots[0]}`);
  return `${lines.join('\n')}\n`;
}

const SETTINGS = { enabled: 'Serves others', lan: 'Gateway for this network', private_origins: 'Serves files of private origin',
  upload_rate_max: 'Upload rate at most', upload_slots: 'Uploads at once', file: 'Settings file', cache_dir: 'Cache directory' };

/** A setting's name; one that is not known here speaks for itself. */
export function settingName(key) {
  if (Object.hasOwn(SETTINGS, key)) return SETTINGS[key];
  const words = key.replaceAll(/[_.]/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A setting's value. */
export function settingValue(key, value) {
  if (value === null || value === undefined || value === '') return /rate/.test(key) ? 'no limit' : 'not set';
  if (value === true) return 'on';
  if (value === false) return 'off';
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map((one) => settingValue('', one)).join('\n');
  if (typeof value === 'object') {
    return Object.entries(value).map(([name, one]) => `${settingName(name)}: ${settingValue(name, one)}`).join('\n');
  }
  if (typeof value === 'number' && /bytes_s$|rate/.test(key)) return value === 0 ? 'no limit' : rate(value);
  if (typeof value === 'number' && /bytes/.test(key)) return bytes(value);
  return String(value);
}
