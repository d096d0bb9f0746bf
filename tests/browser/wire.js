/**
 * The wire between sessions and an SFU, in one page: frames are carried as the server does, and a small SFU of browser connections sends on
 * what it gets. For the client's side of docs/protocol.md, "Through the SFU", without a server.
 *
 * Run in a page by test_paths.py.
 */
import { Paths } from '/sdk/paths.js';

const SFU = 'sfu';

export class Wire {
  /** Everything that was sent: who, and the frame. */
  sent = [];
  members = new Map();
  topology = 'p2p';
  epoch = 0;

  constructor() {
    this.sfu = new SmallSfu(this);
  }

  /** Somebody with a camera and a microphone comes into the call; offers to those who are there when the call is direct. */
  async join(id, color) {
    const member = new Member(this, id, color);
    this.members.set(id, member);
    member.paths.startOver(id, false, this.epoch);
    for (const one of this.members.values()) one.follow();
    if (this.topology !== SFU) for (const other of this.members.keys()) if (other !== id) member.paths.offer(other);
    return member;
  }

  leave(id) {
    this.members.get(id).paths.closeAll();
    this.members.delete(id);
    this.sfu.forget(id);
    for (const one of this.members.values()) one.follow();
  }

  /** The call goes another way, from here on. */
  move(topology) {
    this.topology = topology;
    this.epoch += 1;
    for (const one of this.members.values()) one.follow();
  }

  /** @param {string} from @param {object} frame as a client sends it */
  carry(from, frame) {
    const { target_id: target, ...rest } = JSON.parse(JSON.stringify(frame));
    this.sent.push({ from, target, ...rest });
    setTimeout(() => {
      if (target === SFU) this.sfu.receive(from, rest);
      else this.members.get(target)?.paths.receive({ ...rest, session_id: from });
    }, 1);
  }
}

class Member {
  expects = { camera: true, screen: false };

  constructor(wire, id, color) {
    this.id = id;
    this.wire = wire;
    this.tracks = { microphone: tone(), camera: picture(color), screen: null };
    this.paths = new Paths({
      api: { iceServers: async () => ({ ice_servers: [] }) }, callId: 'call', send: (frame) => wire.carry(id, frame), tracks: () => this.tracks,
      expected: () => this.expects, retired: [],
    });
  }

  follow() {
    const others = new Set([...this.wire.members.keys()].filter((id) => id !== this.id));
    this.paths.follow(this.wire.topology, this.wire.epoch, others);
  }

  /** How each other is shown: the way, and how many frames of it were decoded. */
  async shown() {
    const entries = await this.paths.statistics();
    return Object.fromEntries(entries.map((one) => [one.session_id, { way: one.way, frames: one.inbound.video.frames_decoded, packets: one.inbound.audio.packets }]));
  }
}

/** Receives from each, sends to each what the others send; offers anew when that changes. */
class SmallSfu {
  publishers = new Map();
  subscribers = new Map();
  deaf = false;

  constructor(wire) {
    this.wire = wire;
  }

  /** All connections end without a word. */
  die() {
    for (const one of [...this.publishers.values(), ...this.subscribers.values()]) one.pc.close();
    this.publishers.clear();
    this.subscribers.clear();
  }

  forget(id) {
    this.publishers.get(id)?.pc.close();
    this.subscribers.get(id)?.pc.close();
    this.publishers.delete(id);
    this.subscribers.delete(id);
    this.#offerAll();
  }

  async receive(from, frame) {
    if (this.deaf) return;
    if (frame.type === 'offer') await this.#published(from, frame);
    if (frame.type === 'answer') await this.subscribers.get(from)?.answered(frame);
    if (frame.type === 'ice_restart') this.subscribers.get(from)?.offer({ iceRestart: true });
    if (frame.type !== 'ice_candidate') return;
    const one = [this.publishers.get(from), this.subscribers.get(from)].find((each) => each?.id === frame.connection_id);
    await one?.pc.addIceCandidate(frame.candidate ?? undefined).catch(() => {});
  }

  async #published(from, frame) {
    let one = this.publishers.get(from);
    if (one?.id !== frame.connection_id) {
      one?.pc.close();
      one = { id: frame.connection_id, pc: new RTCPeerConnection(), sources: new Map() };
      one.pc.onicecandidate = ({ candidate }) => this.say(from, { type: 'ice_candidate', connection_id: frame.connection_id, candidate }, frame.epoch);
      this.publishers.set(from, one);
    }
    await one.pc.setRemoteDescription({ type: 'offer', sdp: frame.sdp });
    await one.pc.setLocalDescription();
    one.sources = new Map(frame.tracks.map(({ mid, source }) => [source, one.pc.getTransceivers().find((line) => line.mid === mid).receiver.track]));
    pull(one.sources.get('microphone'));
    this.say(from, { type: 'answer', connection_id: frame.connection_id, sdp: one.pc.localDescription.sdp }, frame.epoch);
    if (!this.subscribers.has(from)) this.subscribers.set(from, new SmallSubscriber(this, from, frame.epoch));
    this.#offerAll();
  }

  #offerAll() {
    for (const one of this.subscribers.values()) one.update();
  }

  say(to, frame, epoch) {
    const clean = JSON.parse(JSON.stringify(frame));
    setTimeout(() => this.wire.members.get(to)?.paths.receive({ ...clean, epoch, session_id: SFU, sender_id: SFU }), 1);
  }
}

class SmallSubscriber {
  lines = new Map();
  busy = false;
  again = false;

  constructor(sfu, to, epoch) {
    Object.assign(this, { sfu, to, epoch, id: `to ${to} ${epoch} ${Math.random()}`, pc: new RTCPeerConnection() });
    this.pc.onicecandidate = ({ candidate }) => sfu.say(to, { type: 'ice_candidate', connection_id: this.id, candidate }, epoch);
  }

  update() {
    let changed = false;
    for (const [session, { sources }] of this.sfu.publishers) {
      if (session === this.to) continue;
      for (const [source, track] of sources) {
        const key = `${session} ${source}`;
        if (this.lines.has(key)) continue;
        this.lines.set(key, { session_id: session, source, line: this.pc.addTransceiver(track, { direction: 'sendonly' }) });
        changed = true;
      }
    }
    for (const [key, one] of this.lines) {
      if (this.sfu.publishers.get(one.session_id)?.sources.has(one.source)) continue;
      one.line.stop();
      this.lines.delete(key);
      changed = true;
    }
    if (changed) this.offer();
  }

  async offer(options) {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    await this.pc.setLocalDescription(await this.pc.createOffer(options));
    const streams = [...this.lines.values()].map(({ session_id, source, line }) => ({ mid: line.mid, session_id, user_id: session_id, source, active: true }));
    this.sfu.say(this.to, { type: 'offer', connection_id: this.id, sdp: this.pc.localDescription.sdp, streams }, this.epoch);
  }

  async answered(frame) {
    if (frame.connection_id !== this.id) return;
    await this.pc.setRemoteDescription({ type: 'answer', sdp: frame.sdp });
    this.busy = false;
    if (this.again) { this.again = false; this.offer(); }
  }
}

/** A browser sends received sound on only while it plays. */
function pull(track) {
  if (track) Object.assign(new Audio(), { srcObject: new MediaStream([track]), muted: true }).play();
}

/** A small picture that moves. */
function picture(color) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 90 });
  const pen = canvas.getContext('2d');
  let at = 0;
  setInterval(() => {
    pen.fillStyle = color;
    pen.fillRect(0, 0, 160, 90);
    pen.fillStyle = 'white';
    pen.fillRect(at++ % 160, 30, 20, 20);
  }, 60);
  return canvas.captureStream(15).getVideoTracks()[0];
}

/** A quiet tone. */
function tone() {
  const audio = new AudioContext();
  const oscillator = audio.createOscillator();
  const out = audio.createMediaStreamDestination();
  oscillator.connect(out);
  oscillator.start();
  return out.stream.getAudioTracks()[0];
}
