/**
 * Microphones, cameras and speakers: list them, open them, hear how loud they are.
 *
 * Called by media.js and by the device pickers. Must not touch the document.
 *
 * @typedef {'microphone'|'camera'} Source
 * @typedef {'denied'|'missing'|'busy'|'insecure'|'failed'} Trouble  why a device did not open
 * @typedef {{microphone: MediaStreamTrack|null, camera: MediaStreamTrack|null, trouble: Partial<Record<Source, Trouble>>}} Opened
 */

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };

/**
 * Devices by kind. Labels are empty until the person has allowed a device.
 * @returns {Promise<{audioinput: MediaDeviceInfo[], videoinput: MediaDeviceInfo[], audiooutput: MediaDeviceInfo[]}>}
 */
export async function listDevices() {
  const all = await (navigator.mediaDevices?.enumerateDevices() ?? []);
  const of = (/** @type {MediaDeviceKind} */ kind) => all.filter((one) => one.kind === kind && one.deviceId);
  return { audioinput: of('audioinput'), videoinput: of('videoinput'), audiooutput: of('audiooutput') };
}

/** @param {() => void} changed a device was plugged in or pulled out @returns {() => void} stops watching */
export function watchDevices(changed) {
  navigator.mediaDevices?.addEventListener('devicechange', changed);
  return () => navigator.mediaDevices?.removeEventListener('devicechange', changed);
}

/**
 * Open what is asked for, in one question to the person where that is possible. Never throws: what did not open is null, and `trouble`
 * says why. A chosen device that is gone is replaced by the default one.
 * @param {{microphone?: boolean|string, camera?: boolean|string}} wanted true, or a device id
 * @returns {Promise<Opened>}
 */
export async function openDevices(wanted) {
  /** @type {Source[]} */
  const sources = /** @type {Source[]} */ (['microphone', 'camera']).filter((source) => wanted[source]);
  if (sources.length === 0) return { microphone: null, camera: null, trouble: {} };
  try {
    return { ...(await open(sources, wanted)), trouble: {} };
  } catch {
    return openApart(sources, wanted); // one of the two spoils both: find out which
  }
}

/** @param {Source[]} sources @param {{microphone?: boolean|string, camera?: boolean|string}} wanted @returns {Promise<Opened>} */
async function openApart(sources, wanted) {
  /** @type {Opened} */
  const opened = { microphone: null, camera: null, trouble: {} };
  for (const source of sources) {
    try {
      opened[source] = (await open([source], wanted))[source];
    } catch (error) {
      opened.trouble[source] = troubleOf(error);
    }
  }
  return opened;
}

/** @param {Source[]} sources @param {{microphone?: boolean|string, camera?: boolean|string}} wanted */
async function open(sources, wanted) {
  if (!navigator.mediaDevices) throw new DOMException('not a secure context', 'SecurityError');
  /** @param {boolean|string|undefined} choice */
  const device = (choice) => (typeof choice === 'string' ? { deviceId: { ideal: choice } } : {});
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: sources.includes('microphone') ? { ...AUDIO, ...device(wanted.microphone) } : false,
    video: sources.includes('camera') ? { ...VIDEO, ...device(wanted.camera) } : false,
  });
  return { microphone: stream.getAudioTracks()[0] ?? null, camera: stream.getVideoTracks()[0] ?? null };
}

/** @param {unknown} error of `getUserMedia` (W3C Media Capture, 10.2) @returns {Trouble} */
function troubleOf(error) {
  const name = error instanceof DOMException || error instanceof Error ? error.name : '';
  if (name === 'NotAllowedError') return 'denied';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'missing';
  if (name === 'NotReadableError' || name === 'AbortError') return 'busy';
  return name === 'SecurityError' ? 'insecure' : 'failed';
}

/** @type {AudioContext|null} one for the page: browsers allow few */
let context = null;

/** @returns {AudioContext} */
export function audioContext() {
  context ??= new AudioContext();
  if (context.state === 'suspended') void context.resume().catch(() => {});
  return context;
}

/** How loud a track is. It listens to a clone, so that a muted microphone can still say that one speaks into it. */
export class LevelMeter {
  /** @param {MediaStreamTrack} track audio */
  constructor(track) {
    this.track = track.clone();
    this.track.enabled = true;
    const audio = audioContext();
    this.source = audio.createMediaStreamSource(new MediaStream([this.track]));
    this.analyser = audio.createAnalyser();
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.source.connect(this.analyser);
  }

  /** Root mean square of the last 20 ms. @returns {number} 0 (silence) to 1 */
  level() {
    this.analyser.getFloatTimeDomainData(this.samples);
    const power = this.samples.reduce((sum, value) => sum + value * value, 0) / this.samples.length;
    return Math.min(1, Math.sqrt(power));
  }

  close() {
    this.source.disconnect();
    this.track.stop();
  }
}
