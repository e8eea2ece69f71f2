// Logs that are not UTF-8: recognised by their first bytes, or read in the encoding that the reader chooses.

import assert from 'node:assert/strict';

import { scene } from './scene.js';

/** `ERROR 连接不上` and `重试 2` in GBK. */
const GBK = Buffer.from('4552524f5220c1acbdd3b2bbc9cf0ad6d8cad420320a', 'hex');
const SHOWN = ['ERROR 连接不上', '重试 2'];

scene('a log in UTF-16 with a byte order mark is shown as text', async (scene) => {
  const { logs } = scene;
  const log = await logs.write('a.log', Buffer.from('\ufeffERROR 连接不上\r\n한국어 🙂\r\n', 'utf16le'));
  await scene.open(log);
  await scene.untilRows(['ERROR 连接不上', '한국어 🙂']);
  await scene.until(() => document.querySelector('#errors-count')?.textContent === '1 error');
  await logs.append('a.log', Buffer.from('🚀\r\n', 'utf16le').subarray(0, 3));
  await logs.append('a.log', Buffer.from('🚀\r\n', 'utf16le').subarray(3));
  await scene.untilRows(['ERROR 连接不上', '한국어 🙂', '🚀']);
});

scene('the reader chooses an encoding, and a link shows the same', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', GBK);
  await scene.open(log);
  await scene.until(() => (document.querySelector('#rows')?.textContent ?? '').includes('\ufffd'));
  await page.click('#view-open');
  await page.selectOption('#encoding', 'gb18030');
  await scene.untilRows(SHOWN);
  assert.equal(await page.evaluate(() => location.hash), '#encoding=gb18030');
  await logs.append('a.log', Buffer.from('c1ac0a', 'hex'));
  await scene.untilRows([...SHOWN, '连']);
  // In a link, with a search; the menu shows an encoding that it does not list.
  await scene.open('/');
  await scene.open(`${log}#find=:${encodeURIComponent('重试')}&encoding=gbk`);
  await scene.untilRows([...SHOWN, '连']);
  await scene.untilText('#find-count', '1 line');
  assert.equal(await page.locator('#encoding').inputValue(), 'gbk');
  // Another link on the same page.
  await page.evaluate(() => { location.hash = '#encoding=latin1'; });
  await scene.until(() => (document.querySelector('#rows')?.textContent ?? '').includes('ÖØÊÔ 2'));
  await page.click('#view-open');
  await page.selectOption('#encoding', '');
  await scene.until(() => (document.querySelector('#rows')?.textContent ?? '').includes('\ufffd') && location.hash === '');
});

scene('an encoding in the address of the page holds until another is chosen', async (scene) => {
  const { logs, page } = scene;
  const log = await logs.write('a.log', GBK);
  await scene.open(`${log}?encoding=gb2312`);
  await scene.untilRows(SHOWN);
  await page.click('#more-open');
  assert.equal(await page.getAttribute('#raw', 'href'), `${scene.program.origin}${log}?format=raw&encoding=gbk`);
  await page.keyboard.press('Escape');
  await page.click('#view-open');
  await page.selectOption('#encoding', 'big5');
  await scene.until(() => location.hash === '#encoding=big5' && location.search === '');
});

scene('the merged view reads its logs in the chosen encoding', async (scene) => {
  const { logs, page } = scene;
  const [one, other] = [await logs.write('a.log', GBK), await logs.write('b.log', 'ascii\n')];
  await scene.open(`/_/merged?log=${one}&log=${other}`);
  await scene.until(() => (document.querySelector('#rows')?.textContent ?? '').includes('\ufffd'));
  await page.click('#view-open');
  await page.selectOption('#encoding', 'gb18030');
  await scene.until(() => {
    const shown = document.querySelector('#rows')?.textContent ?? '';
    return ['ERROR 连接不上', '重试 2', 'ascii'].every((line) => shown.includes(line));
  });
  assert.equal(await page.evaluate(() => location.hash), '#encoding=gb18030');
});
