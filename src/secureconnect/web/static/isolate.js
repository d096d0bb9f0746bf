/**
 * Text of people inside text of ours: its writing direction must not reach the words around it (UAX 9, section 2.4).
 *
 * Called by words.js, format.js and notices.js, where no element can isolate it. Elements use `bdi` of view/element.js. Pure.
 */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** Put what reads from right to left between U+2068 and U+2069; other text cannot turn our sentences. @param {string} text @returns {string} */
export function isolate(text) {
  return RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text;
}
