/**
 * The sounds: a ring, a ringback, a test sound and the small one at the end. Made of oscillators, so nothing is loaded.
 *
 * Called by the views of a call. Silent until the person has clicked somewhere: browsers ask for that.
 */
import { audioContext } from '/sdk/devices.js';

/** @typedef {{at: number, hertz: number, seconds: number}} Note */
/** @type {Record<'ring'|'ringback'|'test'|'end'|'knock', {notes: Note[], period: number, volume: number}>} */
const TONES = {
  ring: { notes: [[0, 659], [0.18, 784], [0.36, 988], [0.72, 659], [0.9, 784], [1.08, 988]].map(([at, hertz]) => ({ at, hertz, seconds: 0.32 })), period: 2.8, volume: 0.16 },
  ringback: { notes: [{ at: 0, hertz: 425, seconds: 1 }], period: 4, volume: 0.06 },
  test: { notes: [[0, 523], [0.2, 659], [0.4, 784], [0.6, 1047]].map(([at, hertz]) => ({ at, hertz, seconds: 0.4 })), period: 0, volume: 0.16 },
  end: { notes: [[0, 494], [0.14, 370]].map(([at, hertz]) => ({ at, hertz, seconds: 0.22 })), period: 0, volume: 0.1 },
  knock: { notes: [[0, 784], [0.16, 784]].map(([at, hertz]) => ({ at, hertz, seconds: 0.12 })), period: 0, volume: 0.08 },
};

/** Whether a sound would be heard: browsers keep a page silent that nobody has touched. */
export function canSound() {
  return navigator.userActivation?.hasBeenActive !== false;
}

/**
 * @param {keyof typeof TONES} name
 * @param {string|null} [speaker] device id
 * @returns {() => void} stops it
 */
export function play(name, speaker = null) {
  const tone = TONES[name];
  /** @type {GainNode|null} */
  let gain = null;
  const round = () => {
    if (!canSound()) return; // the browser would complain
    gain ??= output(tone.volume, speaker);
    for (const note of tone.notes) sound(gain, note);
  };
  round();
  const timer = tone.period ? setInterval(round, tone.period * 1000) : undefined;
  return () => {
    clearInterval(timer);
    gain?.gain.setTargetAtTime(0, gain.context.currentTime, 0.03);
    setTimeout(() => gain?.disconnect(), 200);
  };
}

/** @param {number} volume @param {string|null} speaker @returns {GainNode} */
function output(volume, speaker) {
  const audio = audioContext();
  // Not every browser can send WebAudio to a chosen speaker: there it sounds on the default one.
  if (speaker && 'setSinkId' in audio) void /** @type {any} */ (audio).setSinkId(speaker).catch(() => {});
  const gain = audio.createGain();
  gain.gain.value = volume;
  gain.connect(audio.destination);
  return gain;
}

/** @param {GainNode} into @param {Note} note */
function sound(into, note) {
  const audio = into.context;
  const start = audio.currentTime + note.at;
  const oscillator = audio.createOscillator();
  const envelope = audio.createGain();
  oscillator.frequency.value = note.hertz;
  envelope.gain.setValueAtTime(0, start);
  envelope.gain.linearRampToValueAtTime(1, start + 0.02);
  envelope.gain.setTargetAtTime(0, start + note.seconds * 0.6, note.seconds / 6);
  oscillator.connect(envelope).connect(into);
  oscillator.start(start);
  oscillator.stop(start + note.seconds * 1.8);
}
