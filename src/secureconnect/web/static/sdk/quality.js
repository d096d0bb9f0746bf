/**
 * From the browser's statistics (W3C webrtc-stats) to numbers and a level that people understand.
 *
 * Called by call.js every two seconds for each peer. Pure but for reading `getStats`.
 *
 * @import {Slot} from './peer.js'
 * @import {QualityReport} from './shapes.js'
 * @typedef {object} Measured  a connection, or one session's share of one
 * @property {RTCPeerConnection} connection
 * @property {(slot: Slot) => string|null} mid of the lines that are meant; null for all: then the whole connection is
 * @property {RTCPeerConnectionState} state
 * @property {Sample|null} sample the last one
 * @typedef {object} Sample
 * @property {number} at ms since the epoch
 * @property {number|null} rttMs round trip of the path, ms
 * @property {number} loss share of the packets lost since the sample before, 0 to 1, the worse of both directions
 * @property {number} lossIn of those received alone
 * @property {number|null} availableInKbps what the browser thinks that it could receive, where it says so
 * @property {number} jitterMs of received audio
 * @property {number} inKbps @property {number} outKbps media received and sent since the sample before
 * @property {boolean} relayed whether the path goes through a TURN relay
 * @property {string} path what carries it, such as `udp host/srflx`
 * @property {{packets: number, bytes: number, energy: number}} audio received since the start
 * @property {{frames_decoded: number, width: number, height: number, fps: number}} video received from the camera
 * @property {{frames_decoded: number, width: number, height: number, fps: number}} screen received from the shared screen
 * @property {string[]} codecs of what is received
 * @property {{received: number, lost: number, inBytes: number, outBytes: number}} totals for the next difference
 */

/** Worst first: what a path must stay under to be better than the level. */
const LEVELS = [
  { level: 1, rttMs: 800, loss: 0.12 },
  { level: 2, rttMs: 400, loss: 0.05 },
  { level: 3, rttMs: 200, loss: 0.02 },
];

/**
 * How good a path is: 4 good, 3 fair, 2 poor, 1 barely usable.
 * @param {{rttMs: number|null, loss: number}} sample
 * @returns {number}
 */
export function levelOf({ rttMs, loss }) {
  const bad = LEVELS.find((limit) => (rttMs ?? 0) >= limit.rttMs || loss >= limit.loss);
  return bad ? bad.level : 4;
}

/**
 * What a session says of its own connection to the others: as good as its worst path.
 * @param {Measured[]} peers @returns {QualityReport}
 */
export function reportOf(peers) {
  const samples = peers.flatMap((peer) => peer.sample ?? []);
  const rtts = samples.flatMap((one) => one.rttMs ?? []);
  const rtt = rtts.length ? Math.max(...rtts) : null;
  const loss = Math.max(0, ...samples.map((one) => one.loss));
  const jitter = Math.max(0, ...samples.map((one) => one.jitterMs));
  const connected = peers.length === 0 || peers.some((peer) => peer.state === 'connected');
  const inKbps = samples.reduce((sum, one) => sum + one.inKbps, 0);
  const outKbps = samples.reduce((sum, one) => sum + one.outKbps, 0);
  return {
    level: connected ? levelOf({ rttMs: rtt, loss }) : 0,
    rtt_ms: rtt,
    jitter_ms: jitter,
    loss: Math.round(loss * 1000) / 1000,
    in_kbps: inKbps,
    out_kbps: outKbps,
    bitrate_kbps: inKbps + outKbps,
    ...downlinkOf(samples),
    mos: rtt === null ? null : mosOf({ rttMs: rtt, jitterMs: jitter, loss }),
  };
}

/** What an SFU chooses sizes by. @param {Sample[]} samples @returns {Pick<QualityReport, 'loss_in'|'available_in_kbps'>} */
function downlinkOf(samples) {
  const known = samples.flatMap((one) => one.availableInKbps ?? []);
  return {
    loss_in: Math.round(Math.max(0, ...samples.map((one) => one.lossIn)) * 1000) / 1000,
    ...(known.length ? { available_in_kbps: Math.max(...known) } : {}),
  };
}

/** Between a packet and the ear: 20 ms of sound in it, coding, and a jitter buffer at rest. */
const DECODER_MS = 60;
/** How well a decoder bears loss: Bpl of ITU-T G.113 for G.711 with concealment, as the server takes it. */
const LOSS_ROBUSTNESS = 25.1;

/**
 * The mean opinion score that listeners would give, by the E-model (ITU-T G.107, annex B); the server reckons the same (calls/quality.py).
 * @param {{rttMs: number, jitterMs: number, loss: number}} sample
 * @returns {number} 1 (bad) to 4.5
 */
export function mosOf({ rttMs, jitterMs, loss }) {
  const delay = rttMs / 2 + 2 * jitterMs + DECODER_MS;
  const lost = 100 * loss;
  const rating = Math.min(100, Math.max(0, 93.2 - 0.024 * delay - 0.11 * Math.max(0, delay - 177.3) - (95 * lost) / (lost + LOSS_ROBUSTNESS)));
  return Math.round(Math.max(1, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6) * 100) / 100;
}

/**
 * @param {Measured} path
 * @param {Sample|null} before the last sample of the same path
 * @returns {Promise<Sample>}
 */
export async function sampleOf(path, before) {
  const report = [...(await path.connection.getStats()).values()];
  const mids = /** @type {Slot[]} */ (['microphone', 'camera', 'screen']).flatMap((slot) => path.mid(slot) ?? []);
  const inbound = report.filter((one) => one.type === 'inbound-rtp' && (mids.length === 0 || mids.includes(one.mid)));
  const audio = inbound.find((one) => one.kind === 'audio');
  const remote = report.filter((one) => one.type === 'remote-inbound-rtp');
  const totals = totalsOf(report, inbound);
  const at = Date.now();
  const rate = rateSince(before, at);
  const sent = remote.reduce((worst, one) => Math.max(worst, one.fractionLost ?? 0), 0);
  return {
    at,
    ...pathOf(report),
    loss: Math.max(lossSince(before, totals), sent),
    lossIn: lossSince(before, totals),
    jitterMs: Math.round((audio?.jitter ?? 0) * 1000),
    inKbps: rate(totals.inBytes, before?.totals.inBytes),
    outKbps: rate(totals.outBytes, before?.totals.outBytes),
    audio: { packets: audio?.packetsReceived ?? 0, bytes: audio?.bytesReceived ?? 0, energy: audio?.totalAudioEnergy ?? 0 },
    video: pictureOf(inbound, path.mid('camera')),
    screen: pictureOf(inbound, path.mid('screen')),
    codecs: codecsOf(report, inbound),
    totals,
  };
}

/** @param {any[]} inbound @param {string|null} mid */
function pictureOf(inbound, mid) {
  const one = inbound.find((entry) => entry.kind === 'video' && entry.mid === mid);
  return {
    frames_decoded: one?.framesDecoded ?? 0,
    width: one?.frameWidth ?? 0,
    height: one?.frameHeight ?? 0,
    fps: Math.round(one?.framesPerSecond ?? 0),
  };
}

/** All that a connection has received, media or not. @param {RTCPeerConnection} connection @returns {Promise<number>} */
export async function bytesHeard(connection) {
  const report = [...(await connection.getStats()).values()];
  return report.filter((one) => one.type === 'transport').reduce((sum, one) => sum + (one.bytesReceived ?? 0), 0);
}

/** @param {any[]} report */
function pathOf(report) {
  const transport = report.find((one) => one.type === 'transport' && one.selectedCandidatePairId);
  const pair = report.find((one) => one.id === transport?.selectedCandidatePairId)
    ?? report.find((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
  const local = report.find((one) => one.id === pair?.localCandidateId);
  const remote = report.find((one) => one.id === pair?.remoteCandidateId);
  return {
    availableInKbps: pair?.availableIncomingBitrate === undefined ? null : Math.round(pair.availableIncomingBitrate / 1000),
    rttMs: pair?.currentRoundTripTime === undefined ? null : Math.round(pair.currentRoundTripTime * 1000),
    relayed: local?.candidateType === 'relay' || remote?.candidateType === 'relay',
    path: local ? `${local.relayProtocol ?? local.protocol} ${local.candidateType}/${remote?.candidateType ?? '?'}` : '',
  };
}

/** @param {any[]} report @param {any[]} inbound */
function totalsOf(report, inbound) {
  const outbound = report.filter((one) => one.type === 'outbound-rtp');
  const sum = (/** @type {any[]} */ list, /** @type {string} */ field) => list.reduce((total, one) => total + (one[field] ?? 0), 0);
  return {
    received: sum(inbound, 'packetsReceived'),
    lost: sum(inbound, 'packetsLost'),
    inBytes: sum(inbound, 'bytesReceived'),
    outBytes: sum(outbound, 'bytesSent'),
  };
}

/** @param {Sample|null} before @param {Sample['totals']} totals */
function lossSince(before, totals) {
  const lost = Math.max(0, totals.lost - (before?.totals.lost ?? 0));
  const received = Math.max(0, totals.received - (before?.totals.received ?? 0));
  return lost + received === 0 ? 0 : lost / (lost + received);
}

/** @param {Sample|null} before @param {number} at @returns {(now: number, then: number|undefined) => number} */
function rateSince(before, at) {
  const milliseconds = before ? at - before.at : 0;
  return (now, then) => (milliseconds > 0 ? Math.max(0, Math.round(((now - (then ?? 0)) * 8) / milliseconds)) : 0);
}

/** @param {any[]} report @param {any[]} inbound @returns {string[]} */
function codecsOf(report, inbound) {
  const used = new Set(inbound.filter((one) => one.packetsReceived > 0).map((one) => one.codecId));
  return report.filter((one) => one.type === 'codec' && used.has(one.id)).map((one) => one.mimeType.split('/')[1]);
}

/**
 * A code that two people can read to each other: the same on both sides only when nobody sits between them.
 * It is made of both DTLS certificates' fingerprints (RFC 8122), in an order that both sides share.
 * @param {RTCPeerConnection} connection
 * @returns {Promise<string|null>} four groups of four digits; null before the connection is negotiated
 */
export async function securityCode(connection) {
  const find = (/** @type {string|undefined} */ sdp) => sdp?.match(/^a=fingerprint:(.+)$/m)?.[1].trim().toUpperCase();
  const prints = [find(connection.currentLocalDescription?.sdp), find(connection.currentRemoteDescription?.sdp)];
  if (!prints[0] || !prints[1]) return null;
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(prints.sort().join('\n')));
  const words = new Uint16Array(digest, 0, 4);
  return [...words].map((word) => String(word % 10_000).padStart(4, '0')).join(' ');
}
