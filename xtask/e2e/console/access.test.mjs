// Who cannot use a mouse, sees little or not at all, or reads differently: WCAG 2.2 AA beyond what one rule set finds.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { B, QUICKSTART, SCREENS, barriers, cavra, get, launch, open, overflows, post, sample, settled, staticSite, stopAll, until } from './lib.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); await stopAll(); });

const clean = (page) => assert.deepEqual(page.faults, []);
/// What each screen says when there is nothing yet.
const NOTHING = {
  overview: /There are no routes yet.*There were no routes in this time.*Nobody is late/, routes: /There are no routes yet.*cavra import/, packages: /No package has been made yet/,
  export: /No failed delivery is left undelivered.*No export has been made yet/, archive: /There is no verified export yet.*No reference has been recorded yet/, history: /Nothing has been recorded yet/,
};
const THEMES = ['light', 'dark'];

test('also the states that nobody wishes for have no barrier: no API, the sample, nothing there, errors, work under way', async () => {
  const [empty, site] = [await cavra(), await staticSite('http://127.0.0.1:9')];
  let looked = 0;
  for (const theme of THEMES) {
    for (const width of theme === 'dark' ? [1440, 320] : [1440]) {
      const look = async (page, name) => {
        looked += 1;
        assert.deepEqual(await barriers(page), [], `${name}, ${theme}, ${width}`);
        assert.equal(await overflows(page), false, `${name} scrolls sideways at ${width}`);
      };
      const lost = await open(browser, site.url, { theme, width, may: ['http://127.0.0.1:9'] });
      await lost.getByRole('heading', { name: 'The API cannot be reached' }).waitFor();
      await look(lost, 'no API');
      for (const screen of SCREENS) {
        await lost.goto(`${site.url}?sample#/${screen}`);
        await settled(lost);
        assert.match(await lost.locator('.strip.is-sample').textContent(), /Sample data\. Invented/);
        await look(lost, `the sample's ${screen}`);
      }
      await lost.context().close();

      const page = await open(browser, empty.url, { theme, width });
      for (const screen of SCREENS) {
        await page.goto(`${empty.url}/#/${screen}`);
        await settled(page);
        assert.match(await page.locator('main').textContent(), NOTHING[screen], screen);
        await look(page, `${screen} with nothing in it`);
      }
      await page.goto(`${empty.url}/#/routes`);
      await settled(page);
      assert.match(await page.locator('.empty').textContent(), /There are no routes yet/);
      assert.equal(await page.locator('.acts .button:not(.release .button):not([aria-disabled]):not(:has([aria-disabled]))').count(), 0, 'nothing can be done with nothing');
      // A refusal where rows would be, and a request that takes its time.
      await page.goto(`${empty.url}/#/routes?breached=perhaps&as_of=2999-01-01T00:00:00Z`);
      await until(page, () => document.querySelector('main [role=alert]'));
      assert.match(await page.locator('main [role=alert]').textContent(), /Request [0-9a-f-]{8,}/);
      await look(page, 'an error');
      let go;
      const held = new Promise((resolve) => { go = resolve; });
      await page.route('**/routes?**', async (route) => { await held; await route.continue(); });
      await page.goto(`${empty.url}/#/routes?owner=slow`);
      await until(page, () => document.querySelector('main .waiting'));
      await look(page, 'waiting');
      go();
      await settled(page);
      await page.context().close();
    }
  }
  console.log(`axe looked at ${looked} further states of the page: 0 violations`);
  site.close();
  await empty.stop();
});

/// Everything that the Tab key comes to, from the top: what it is, how large, whether it can be seen, and whether anything lies on it.
const walk = async (page, most = 400) => {
  const stops = [];
  await page.evaluate(() => { document.activeElement?.blur(); scrollTo(0, 0); });
  for (let count = 0; count < most; count += 1) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const node = document.activeElement;
      if (!node || node === document.body) return null;
      const first = !node.$seen;
      node.$seen = true;
      const box = node.getBoundingClientRect();
      // Of what reaches over the window its visible part counts.
      const [left, top, right, bottom] = [Math.max(0, box.left), Math.max(0, box.top), Math.min(innerWidth, box.right), Math.min(innerHeight, box.bottom)];
      const points = [[0.5, 0.5], [0.2, 0.3], [0.8, 0.7]].map(([x, y]) => document.elementFromPoint(left + (right - left) * x, top + (bottom - top) * y));
      const own = node.closest('.counted') || node;
      const style = getComputedStyle(node);
      const ring = getComputedStyle(node, '::after');
      return {
        first, name: `${node.tagName} ${(node.getAttribute('aria-label') || node.textContent || node.id).trim().slice(0, 50)}`, tag: node.tagName, width: box.width, height: box.height,
        seen: points.some((one) => one && (own.contains(one) || one.contains(node))), covered: right <= left || bottom <= top,
        ringed: (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || (ring.outlineStyle !== 'none' && parseFloat(ring.outlineWidth) >= 2), inline: style.display === 'inline' && Boolean(node.closest('p, dd, li, td, th')),
      };
    });
    if (!stop || !stop.first) break;
    stops.push(stop);
  }
  return stops;
};

test('with the Tab key everything is reached, seen where it is, marked, and large enough', async () => {
  const server = await sample();
  const total = { stops: 0 };
  for (const [theme, width, height] of [['light', 1440, 900], ['dark', 320, 700]]) {
    const page = await open(browser, server.url, { theme, width, height });
    for (const screen of SCREENS) {
      await page.goto('about:blank');
      await page.goto(`${server.url}/#/${screen}${screen === 'routes' ? '?size=25' : ''}`);
      await settled(page);
      const wanted = await page.evaluate(() => [...document.querySelectorAll('a[href], button, input, select')].filter((node) => node.checkVisibility() && !node.closest('dialog')).length);
      const stops = await walk(page);
      total.stops += stops.length;
      assert.ok(stops.length >= wanted, `${screen}: ${stops.length} of ${wanted} were reached`);
      for (const stop of stops) {
        assert.ok(!stop.covered && stop.seen, `${screen}, ${width}: ${stop.name} is hidden when it has the focus`);
        assert.ok(stop.ringed, `${screen}, ${width}: ${stop.name} shows no focus`);
        if (stop.tag !== 'DIV' && !stop.inline) assert.ok(stop.height >= 23.5 && stop.width >= 20, `${screen}, ${width}: ${stop.name} is ${Math.round(stop.width)} by ${Math.round(stop.height)}`);
      }
    }
    clean(page);
    await page.context().close();
  }
  console.log(`the Tab key came to ${total.stops} places, all seen, marked and large enough`);
  await server.stop();
});

test('with the spacing that a reader may ask for nothing is cut off, and with less motion nothing moves', async () => {
  const server = await sample();
  for (const width of [1440, 320]) {
    const page = await open(browser, server.url, { width, reducedMotion: 'reduce' });
    for (const screen of SCREENS) {
      await page.goto(`${server.url}/#/${screen}`);
      await settled(page);
      // WCAG 1.4.12, set as a reader's own style sheet would.
      await page.evaluate(() => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync('* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; } p { margin-bottom: 2em !important; }');
        document.adoptedStyleSheets = [sheet];
      });
      const cut = await page.evaluate(() => [...document.querySelectorAll('main *, header *')].filter((node) => {
        if (!node.checkVisibility() || node.closest('.unseen, svg, .ellipsis, .hbar-name') || node.childElementCount || !node.textContent.trim()) return false;
        const style = getComputedStyle(node);
        return ['hidden', 'clip'].includes(style.overflowX) && node.scrollWidth > node.clientWidth + 1;
      }).map((node) => node.textContent.trim().slice(0, 60)));
      assert.deepEqual(cut, [], `${screen} at ${width}`);
      assert.equal(await overflows(page), false, `${screen} scrolls sideways at ${width} with wide spacing`);
      const moving = await page.evaluate(() => document.getAnimations().filter((one) => one.playState === 'running' && one.effect.getComputedTiming().duration > 1).length);
      assert.equal(moving, 0, screen);
    }
    clean(page);
    await page.context().close();
  }
  await server.stop();
});

test('what changes is said: screens, results, refusals and lost connections reach whoever listens', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await settled(page);
  const said = (id) => page.locator(`#${id}`).textContent();
  await page.keyboard.press('h');
  await settled(page);
  assert.equal(await said('said'), 'History');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'title', 'the focus is at the new screen');
  await page.keyboard.press('r');
  await settled(page);
  await until(page, () => /Outstanding\d/.test(document.querySelector('.acts')?.textContent || ''));
  const outstanding = (await get(server.url, `${B}/routes?state=outstanding&limit=1`)).total;
  await page.keyboard.press('a');
  await until(page, () => /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  await page.keyboard.press('Enter');
  await until(page, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal(await said('said'), `${outstanding} routes acknowledged.`);
  await page.keyboard.press('Enter');
  await until(page, () => !document.querySelector('dialog').open);
  // The dialog gives the focus back to where it came from, and a refresh by somebody else leaves it there.
  await page.getByRole('button', { name: 'Export Ack Audit', exact: true }).focus();
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('dialog').open);
  await page.keyboard.press('Escape');
  await until(page, () => !document.querySelector('dialog').open);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Export Ack Audit');
  const asked = page.waitForResponse((response) => response.url().includes('/routes?'));
  const route = (await get(server.url, `${B}/routes?state=acknowledged&limit=1`)).items[0];
  await post(server.url, `${B}/${route.schedule_id}/acknowledgements`, { provider: route.provider, owner: route.owner, acknowledged_by: 'cem@example.org', acknowledgement_state: 'escalated' });
  await asked;
  await settled(page);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Export Ack Audit');
  await server.stop();
  await until(page, () => /cannot be reached/.test(document.getElementById('cried').textContent));
  clean(page);
  await page.context().close();
});
