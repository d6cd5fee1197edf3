// A picture of every screen and every dialog in both themes: cargo xtask screenshots
import { join } from 'node:path';
import { mkdirSync, rmSync } from 'node:fs';
import { SCREENS, launch, open, sample, settled, staticSite, stopAll, until } from './lib.mjs';

const out = process.argv[2];
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const browser = await launch();
const server = await sample();
const site = await staticSite('http://127.0.0.1:9');
const B = (page, name) => page.getByRole('button', { name }).first().click();
let pictures = 0;
for (const theme of ['light', 'dark']) {
  const page = await open(browser, server.url, { theme });
  const shoot = async (name, options = {}) => {
    await page.mouse.move(0, 0);
    await page.screenshot({ path: join(out, `${name}-${theme}.png`), animations: 'disabled', ...options });
    pictures += 1;
  };
  for (const screen of SCREENS) {
    await page.goto(`${server.url}/#/${screen}`);
    await settled(page);
    await shoot(screen);
  }
  await page.goto(`${server.url}/#/routes?owner=release&action=deliver`);
  await settled(page);
  await page.locator('#routes tbody th a').nth(1).click();
  await until(page, () => document.querySelector('.timeline'));
  await shoot('route');
  await page.goto(`${server.url}/#/routes?schedule_id=payments-ledger-monthly`);
  await settled(page);
  await B(page, /^Bulk Ack Outstanding/);
  await until(page, () => document.querySelector('dialog table'));
  await shoot('bulk-preview');
  await page.getByRole('dialog').getByRole('button', { name: /^Acknowledge \d/ }).click();
  await until(page, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  await shoot('bulk-done');
  await B(page.getByRole('dialog'), 'Undo…');
  await shoot('bulk-undo');
  await page.getByRole('dialog').getByLabel('Reason').fill('for the picture');
  await page.getByRole('dialog').getByRole('button', { name: 'Undo', exact: true }).click();
  await until(page, () => /taken back$/.test(document.querySelector('dialog h2')?.textContent || ''));
  await page.keyboard.press('Escape');
  await B(page, /^Export Ack Audit/);
  await shoot('export-package');
  await page.keyboard.press('Escape');
  await page.goto(`${server.url}/#/export`);
  await settled(page);
  await B(page, /^Plan Auditor Retry/);
  await shoot('retry-ask');
  await page.getByRole('dialog').getByRole('button', { name: 'Make the plan' }).click();
  await until(page, () => !document.querySelector('dialog').open && document.querySelector('svg.retry .mark-wait'));
  await shoot('retry-plan', { fullPage: true });
  await page.goto(`${server.url}/#/archive`);
  await settled(page);
  await B(page, /^Archive reference/);
  await shoot('archive-reference');
  await page.keyboard.press('Escape');
  await page.goto(`${server.url}/#/history`);
  await settled(page);
  await page.locator('tbody .linkish').nth(2).click();
  await shoot('record');
  await page.keyboard.press('Escape');
  await page.goto(`${server.url}/#/routes?state=resolved&owner=nobody`);
  await settled(page);
  await shoot('nothing-matches');
  await page.getByRole('heading', { level: 1 }).focus();
  await page.keyboard.press('?');
  await shoot('keyboard');
  await page.keyboard.press('Escape');
  for (const [name, width, height] of [['narrow', 320, 760], ['wide', 3840, 2160]]) {
    await page.setViewportSize({ width, height });
    for (const screen of ['overview', 'routes']) {
      await page.goto(`${server.url}/#/${screen}`);
      await settled(page);
      await shoot(`${screen}-${name}`);
    }
  }
  await page.context().close();
  const lost = await open(browser, site.url, { theme, may: ['http://127.0.0.1:9'] });
  await lost.getByRole('heading', { name: 'The API cannot be reached' }).waitFor();
  await lost.screenshot({ path: join(out, `unreachable-${theme}.png`) });
  await lost.getByRole('button', { name: 'Look at sample data' }).click();
  await settled(lost);
  await lost.screenshot({ path: join(out, `sample-overview-${theme}.png`) });
  await lost.goto(`${site.url}?sample#/routes`);
  await settled(lost);
  await lost.screenshot({ path: join(out, `sample-routes-${theme}.png`) });
  await lost.goto(`${site.url}?sample#/export`);
  await settled(lost);
  await lost.screenshot({ path: join(out, `sample-export-${theme}.png`) });
  pictures += 4;
  await lost.context().close();
}
const contrast = await open(browser, server.url, { contrast: 'more' });
await contrast.goto(`${server.url}/#/routes`);
await settled(contrast);
await contrast.screenshot({ path: join(out, 'routes-contrast.png') });
const forced = await open(browser, server.url, { forcedColors: 'active', theme: 'dark' });
await settled(forced);
await forced.screenshot({ path: join(out, 'overview-forced-colours.png') });
// The two that the README shows, small.
const small = await open(browser, server.url, { width: 1120, height: 700 });
await settled(small);
await until(small, () => document.querySelector('.hbars') && document.querySelector('svg.chart'));
await small.screenshot({ path: join(out, 'readme-overview.jpg'), type: 'jpeg', quality: 82 });
await small.goto(`${server.url}/#/routes?schedule_id=search-index-weekly`);
await settled(small);
await B(small, /^Bulk Ack Outstanding/);
await until(small, () => document.querySelector('dialog table'));
await small.screenshot({ path: join(out, 'readme-bulk.jpg'), type: 'jpeg', quality: 82 });
await browser.close();
site.close();
await stopAll();
console.log(`${pictures + 4} pictures in ${out}`);
