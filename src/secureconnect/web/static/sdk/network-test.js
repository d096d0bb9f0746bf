/**
 * A test of the network before a call: how far the server is, and whether media passes each TURN server by each of its transports.
 *
 * Called by the test page and by embedding applications (docs/client.md). Needs no device and no call. Must not touch the document.
 *
 * @import {Api} from './api.js'
 */
import { levelOf } from './quality.js';

const SERVER_TRIES = 4;
/** As many packets as audio sends in a second. */
const PACKETS = 50;
const PACKET_EVERY_MS = 20;
const PACKET_BYTES = 160;
const CONNECT_MS = 8_000;
/** A packet that comes later than this is lost to a conversation. */
const LATE_MS = 500;

/**
 * @typedef {'udp'|'tcp'|'tls'} Transport
 * @typedef {object} RelayResult what one URL of a TURN server did
 * @property {string} url @property {Transport} transport from here to the server
 * @property {boolean} ok whether packets came through
 * @property {number|null} connect_ms until they could
 * @property {number|null} rtt_ms to the server and back: the median
 * @property {number|null} jitter_ms mean difference between one packet and the next
 * @property {number|null} loss share of the packets, 0 to 1
 * @property {number} level 0 (nothing passes) to 4 (good)
 * @property {string|null} error what the browser said, when nothing passes
 * @typedef {object} NetworkReport
 * @property {number|null} server_ms the fastest of four small requests; null when the server was not reached
 * @property {RelayResult[]} relays
 */

/** The TURN URLs among the servers, one entry each. @param {RTCIceServer[]} servers @returns {{url: string, transport: Transport, server: RTCIceServer}[]} */
export function relaysOf(servers) {
  return servers.flatMap((server) => [server.urls].flat().filter((url) => /^turns?:/.test(url)).map((url) => ({
    url, transport: transportOf(url), server: { ...server, urls: [url] },
  })));
}

/** How the client reaches the server (RFC 7065). @param {string} url @returns {Transport} */
export function transportOf(url) {
  const tcp = /[?&]transport=tcp\b/.test(url);
  if (url.startsWith('turns:')) return 'tls';
  return tcp ? 'tcp' : 'udp';
}

/**
 * Test all of it, one after the other, so that no test disturbs another.
 * @param {Api} api signed in
 * @param {(report: NetworkReport, testing: string|null) => void} [progress] after each step, with the URL that is being tested
 * @param {AbortSignal} [signal] ends it early; what is known by then is returned
 * @returns {Promise<NetworkReport>} @throws {import('./api.js').ApiError} when the server does not say which relays there are
 */
export async function testNetwork(api, progress = () => {}, signal) {
  /** @type {NetworkReport} */
  const report = { server_ms: await serverMs(api.origin), relays: [] };
  const relays = relaysOf((await api.iceServers(null)).ice_servers);
  for (const relay of relays) {
    if (signal?.aborted) break;
    progress(report, relay.url);
    report.relays.push(await testRelay(relay));
  }
  progress(report, null);
  return report;
}

/** @param {string} origin @returns {Promise<number|null>} */
async function serverMs(origin) {
  const times = [];
  for (let round = 0; round < SERVER_TRIES; round += 1) {
    const before = performance.now();
    const answer = await fetch(`${origin}/health/live`, { cache: 'no-store' }).catch(() => null);
    if (answer) times.push(performance.now() - before);
  }
  return times.length ? Math.round(Math.min(...times)) : null;
}

/**
 * Two connections of this page that may use nothing but this server: what one sends, the other receives, over the server and back.
 * @param {{url: string, transport: Transport, server: RTCIceServer}} relay @returns {Promise<RelayResult>}
 */
export async function testRelay({ url, transport, server }) {
  const failed = { url, transport, ok: false, connect_ms: null, rtt_ms: null, jitter_ms: null, loss: null, level: 0 };
  /** @type {RTCConfiguration} */
  const configuration = { iceServers: [server], iceTransportPolicy: 'relay' };
  const near = new RTCPeerConnection(configuration);
  const far = new RTCPeerConnection(configuration);
  let error = '';
  near.onicecandidateerror = (event) => { error ||= `${event.errorCode} ${event.errorText}`; };
  try {
    const before = performance.now();
    const channels = await connect(near, far);
    const connectMs = performance.now() - before;
    const delays = await exchange(...channels);
    const loss = 1 - delays.length / PACKETS;
    const rtt = median(delays);
    return {
      url, transport, ok: delays.length > 0, connect_ms: Math.round(connectMs), rtt_ms: rtt === null ? null : Math.round(rtt * 10) / 10,
      jitter_ms: Math.round(jitterOf(delays) * 10) / 10, loss: Math.round(loss * 100) / 100,
      level: delays.length ? levelOf({ rttMs: rtt, loss }) : 0, error: null,
    };
  } catch (cause) {
    return { ...failed, error: error || String(cause instanceof Error ? cause.message : cause) };
  } finally {
    near.close();
    far.close();
  }
}

/**
 * @param {RTCPeerConnection} near @param {RTCPeerConnection} far
 * @returns {Promise<[RTCDataChannel, RTCDataChannel]>} as unreliable as media is; rejected when they do not meet in time
 */
async function connect(near, far) {
  // Both ends of one call are here: no server carries the signaling.
  let found = 0;
  const nothing = new Promise((_, reject) => {
    near.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) found += 1;
      if (!candidate && found === 0) reject(new Error('the server gave no address'));
      far.addIceCandidate(candidate ?? undefined).catch(() => {}); // one that is of no use
    };
  });
  far.onicecandidate = ({ candidate }) => void near.addIceCandidate(candidate ?? undefined).catch(() => {});
  const sending = near.createDataChannel('test', { ordered: false, maxRetransmits: 0 });
  const receiving = new Promise((resolve) => { far.ondatachannel = ({ channel }) => resolve(channel); });
  const open = new Promise((resolve) => { sending.onopen = resolve; });
  await near.setLocalDescription();
  await far.setRemoteDescription(/** @type {RTCSessionDescription} */ (near.localDescription));
  await far.setLocalDescription();
  await near.setRemoteDescription(/** @type {RTCSessionDescription} */ (far.localDescription));
  const late = new Promise((_, reject) => { setTimeout(() => reject(new Error(`no connection within ${CONNECT_MS / 1000} s`)), CONNECT_MS); });
  const [channel] = await Promise.race([Promise.all([receiving, open]), late, nothing]);
  return [sending, channel];
}

/** @param {RTCDataChannel} sending @param {RTCDataChannel} receiving @returns {Promise<number[]>} ms of each packet that came, in order of arrival */
async function exchange(sending, receiving) {
  /** @type {number[]} */
  const delays = [];
  receiving.binaryType = 'arraybuffer';
  receiving.onmessage = ({ data }) => delays.push(performance.now() - new Float64Array(data)[0]);
  for (let count = 0; count < PACKETS; count += 1) {
    const packet = new Float64Array(PACKET_BYTES / 8);
    packet[0] = performance.now();
    sending.send(packet.buffer);
    await pause(PACKET_EVERY_MS);
  }
  const end = performance.now() + LATE_MS;
  while (delays.length < PACKETS && performance.now() < end) await pause(PACKET_EVERY_MS);
  return delays;
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}

/** @param {number[]} values @returns {number|null} */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

/** @param {number[]} delays */
function jitterOf(delays) {
  const steps = delays.slice(1).map((delay, index) => Math.abs(delay - delays[index]));
  return steps.reduce((sum, step) => sum + step, 0) / Math.max(1, steps.length);
}
