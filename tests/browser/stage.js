/**
 * A stage with people who are not there: what `call.js` says of them is made up here, pictures and voices included.
 *
 * Run in a page by test_stage.py, which is handed the object that this returns.
 */
export async function open(count, { names = [], media = {} } = {}) {
  for (const name of ['base', 'call']) {
    const sheet = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: `/static/style/${name}.css` });
    document.head.append(sheet);
    await new Promise((resolve) => { sheet.onload = resolve; });
  }
  document.body.replaceChildren(Object.assign(document.createElement('div'), { id: 'announcements' }));
  const { Stage } = await import('/static/view/stage.js');
  const { LocalMedia } = await import('/sdk/media.js');
  const call = new FakeCall(count, names, media);
  const stage = new Stage({ call, media: new LocalMedia() }, 'Everybody', { user_id: 'me', display_name: 'Me' }, {});
  document.body.append(stage.element);
  return { call, stage };
}

class FakeCall extends EventTarget {
  state = 'active';
  handRaised = false;
  history = [];
  levels = new Map();
  api = { user: { user_id: 'me' } };
  record = { caller_id: 'me', answered_at: new Date().toISOString() };
  snapshot = { topology: 'sfu' };
  signaling = { lostAt: null };

  asked = [];

  constructor(count, names, media) {
    super();
    this.people = Array.from({ length: count }, (_, index) => person(index, names[index] ?? `Person ${index + 1}`, media));
    this.record.participants = this.people;
  }

  get recording() {
    return this.record.recording ?? null;
  }

  async startRecording() {
    this.asked.push('start');
    if (this.refusal) throw this.refusal;
  }

  async stopRecording() {
    this.asked.push('stop');
  }

  others() {
    return this.people.map((one) => ({ ...one }));
  }

  show(tiles) {
    this.shown = tiles;
  }

  loudness() {
    return this.levels;
  }

  change(change) {
    change(this.people);
    this.dispatchEvent(new CustomEvent('change'));
  }
}

function person(index, name, media) {
  const camera = picture(index);
  return {
    user_id: `user-${index}`, session_id: `session-${index}`, display_name: name, own: false, state: 'joined', lost_at: null,
    media: { audio_muted: index % 3 === 1, video_muted: false, screen_share: false, hand_raised: index === 3, ...media },
    report: { level: 4, rtt_ms: 20, loss: 0, bitrate_kbps: 900 },
    peer: { state: 'connected', connectedAt: 1, received: { microphone: null, camera, screen: picture(index + 7) } },
  };
}

/** A colour of one's own that breathes. */
export function picture(index) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 90 });
  const pen = canvas.getContext('2d');
  let tick = 0;
  const draw = () => {
    pen.fillStyle = `hsl(${(index * 47) % 360} 45% ${34 + 4 * Math.sin(tick++ / 5)}%)`;
    pen.fillRect(0, 0, 160, 90);
  };
  draw();
  setInterval(draw, 100);
  return canvas.captureStream(10).getVideoTracks()[0];
}
