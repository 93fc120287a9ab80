// What an accessibility checker would ask first, by hand. Returns a list of what is wrong.
const wrong = [];
const visible = e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.closest('.sr, caption.sr, [aria-hidden=true]');

// Structure.
if (!document.documentElement.lang) wrong.push('no language');
for (const landmark of ['main', 'body > header', 'body > footer']) {
  if (document.querySelectorAll(landmark).length !== 1) wrong.push('not one ' + landmark);
}
let level = 0;
for (const h of document.querySelectorAll('h1, h2, h3, h4')) {
  const n = Number(h.localName[1]);
  if (n > level + 1) wrong.push(`h${n} "${h.textContent}" after h${level}`);
  level = n;
}
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push('id twice: ' + id);
for (const e of document.querySelectorAll('[aria-labelledby]')) {
  if (!document.getElementById(e.getAttribute('aria-labelledby'))?.textContent.trim()) wrong.push('label of ' + e.localName);
}
for (const t of document.querySelectorAll('table')) {
  if (!t.caption) wrong.push('a table without a caption');
  for (const th of t.querySelectorAll('th')) if (!th.scope) wrong.push('a header without a scope: ' + th.textContent);
}
for (const e of document.querySelectorAll('[tabindex]')) if (e.tabIndex > 0) wrong.push('an order of tabs of its own');
for (const svg of document.querySelectorAll('svg')) if (svg.getAttribute('aria-hidden') !== 'true') wrong.push('a picture that is read out');
// Whatever has a colour for a state has an icon and a word too.
for (const e of document.querySelectorAll('.say')) if (!e.querySelector('svg') || !e.textContent.trim()) wrong.push('a state by colour alone');

// Contrast: WCAG 2.2, 1.4.3.
const rgba = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
const light = c => { const [r, g, b] = c.map(x => (x /= 255) <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
const page = rgba(getComputedStyle(document.body).backgroundColor);
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const told = new Set();
let asked = 0;
for (let t; (t = texts.nextNode());) {
  const e = t.parentElement;
  if (!t.data.trim() || !visible(e)) continue;
  asked++;
  let back = page.slice(0, 3), opacity = 1;
  const up = [];
  for (let a = e; a && a !== document.body; a = a.parentElement) up.unshift(a);
  for (const a of up) {
    const s = getComputedStyle(a);
    back = over(rgba(s.backgroundColor), back);
    opacity *= Number(s.opacity);
  }
  const style = getComputedStyle(e), front = rgba(style.color);
  front[3] *= opacity;
  const [a, b] = [light(over(front, back)), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
  const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
  const key = `${style.color} on ${back.map(Math.round)}`;
  if (ratio < (large ? 3 : 4.5) && !told.has(key)) {
    told.add(key);
    wrong.push(`contrast ${ratio.toFixed(2)}: ${key}: "${t.data.trim().slice(0, 30)}"`);
  }
}
if (asked < 20) wrong.push('hardly any text was seen: ' + asked);
return wrong;
