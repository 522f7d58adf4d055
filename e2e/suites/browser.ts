/**
 * The web page in a real browser, on the real control plane, Pulse and bucket: requests appear by themselves, payload
 * comes from the bucket and never through the control plane, and hostile payload stays text.
 */
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import type { Locator, Page } from 'playwright-core'
import { openPage, startBrowser, type WatchedPage } from '../browser.js'
import { withTemporaryDirectory } from '../directory.js'
import { type FedBody, type FedExchange, type Feeder, openFeeder } from '../feeder.js'
import { type PageStack, startPageStack } from '../page-stack.js'
import { playAgent } from '../played-agent.js'
import type { Suite, SuiteContext } from '../suite.js'

interface Bench extends SuiteContext {
  readonly stack: PageStack
  readonly feeder: Feeder
  readonly watched: WatchedPage
  readonly page: Page
}

const patienceMs = 10_000

const text = (content: string, contentType: string): FedBody => ({ bytes: Buffer.from(content), contentType })

const get = (path: string, fields: Partial<FedExchange> = {}): FedExchange => ({
  method: 'GET',
  host: 'shop.example',
  path,
  status: 200,
  ...fields,
})

const rowOf = (page: Page, path: string): Locator =>
  page.locator('tbody tr').filter({ has: page.getByText(path, { exact: true }) })

const appears = (locator: Locator): Promise<void> =>
  locator.first().waitFor({ state: 'visible', timeout: patienceMs })

/** Opens the request of a path from the table and one of its tabs. */
const openTab = async (page: Page, path: string, tab: string): Promise<Locator> => {
  await rowOf(page, path).first().click()
  await page.getByRole('tab', { name: tab, exact: true }).click()
  return page.getByRole('tabpanel')
}

/** Waits until the panel's text matches, and gives it. */
const panelText = async (panel: Locator, pattern: RegExp): Promise<string> => {
  await appears(panel.filter({ hasText: pattern }))
  return textOf(panel)
}

const textOf = async (locator: Locator): Promise<string> => (await locator.textContent()) ?? ''

const checkTable = async ({ cell, page, feeder, watched, stack }: Bench): Promise<void> => {
  await cell('a page without agents says what to do', async () => {
    await appears(page.getByText('No agent is connected'))
    await appears(page.getByText('Live', { exact: true }))
    return undefined
  })
  await cell('a pushed request becomes a row without reload', async () => {
    const documents = () => watched.loaded.filter(({ url }) => url.pathname === '/').length
    const before = documents()
    const start = performance.now()
    await feeder.push([get('/first', { status: 503, process: { comm: 'billing', pid: 777 } })])
    await appears(rowOf(page, '/first'))
    const tookMs = Math.round(performance.now() - start)
    const row = await textOf(rowOf(page, '/first'))
    for (const part of ['GET', 'shop.example', '503', '12.3 ms', 'billing', '777', '192.0.2.7:443']) {
      assert.ok(row.includes(part), `no ${part} in ${JSON.stringify(row)}`)
    }
    assert.equal(documents(), before)
    return `${tookMs} ms from push to row`
  })
  await cell('a paused table holds new rows back and counts them', async () => {
    await page.keyboard.press('Space')
    await feeder.push([get('/held-1'), get('/held-2')])
    await appears(page.getByRole('button', { name: '2 new' }))
    assert.equal(await rowOf(page, '/held-1').count(), 0)
    await page.keyboard.press('Space')
    await appears(rowOf(page, '/held-2'))
    return undefined
  })
  await cell('a filter stands in the address and is kept by the server', async () => {
    await page.keyboard.press('/')
    await page.keyboard.type('other.example')
    await appears(page.getByText('Nothing matches this filter'))
    assert.equal(new URL(page.url()).search, '?host=other.example')
    await feeder.push([get('/unmatched'), get('/matched', { host: 'other.example' })])
    await appears(rowOf(page, '/matched'))
    assert.equal(await rowOf(page, '/unmatched').count(), 0)
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: 'Reset', exact: true }).click()
    await appears(rowOf(page, '/unmatched'))
    return undefined
  })
  await cell('a filter takes effect while requests keep coming', async () => {
    const stop = new AbortController()
    const feeders = Array.from({ length: 6 }, () => openFeeder(stack.s3, stack.pulse.address('listen')))
    const running = feeders.map(async (each) => {
      while (!stop.signal.aborted) await each.push([get('/noise', { metadataOnly: true })])
      each.close()
    })
    try {
      await appears(rowOf(page, '/noise'))
      await page.getByLabel('Path').fill('/matched')
      await page.waitForURL('**/?path=%2Fmatched', { timeout: patienceMs })
      await rowOf(page, '/noise').first().waitFor({ state: 'detached', timeout: patienceMs })
    } finally {
      stop.abort()
      await Promise.all(running)
    }
    await page.getByRole('button', { name: 'Reset', exact: true }).click()
    return undefined
  })
  await cell('a bad filter is answered with the reason', async () => {
    await page.getByLabel('Status').fill('abc')
    const alert = page.getByRole('alert')
    await appears(alert)
    const reason = await textOf(alert)
    assert.match(reason, /abc/)
    await page.getByRole('button', { name: 'Reset', exact: true }).click()
    await appears(page.getByText('Live', { exact: true }))
    return reason.replaceAll('\n', ' ').slice(0, 90)
  })
}

const checkPayload = async (bench: Bench): Promise<void> => {
  const { cell, page, feeder, watched, stack } = bench
  const secret = 'payload-that-passes-nobody-9f1c'
  const earlier = watched.loaded.length
  await cell('headers and body come from the bucket, verified', async () => {
    const requestHeaders = [['X-Marker', secret]] as const
    const responseBody = text(`{"id":12345678901234567890,"note":"${secret}"}`, 'application/json')
    await feeder.push([get('/payload', { requestHeaders, responseBody })])
    const headers = await panelText(await openTab(page, '/payload', 'Headers'), /X-Marker/)
    assert.match(headers, new RegExp(secret))
    const body = await panelText(await openTab(page, '/payload', 'Response'), /verified/)
    assert.match(body, /"id": 12345678901234567890/)
    return undefined
  })
  await cell('no payload byte came through the control plane', async () => {
    const carriers = new Set<string>()
    const since = watched.loaded.slice(earlier).filter(({ url }) => url.pathname !== '/api/v1/requests/tail')
    for (const { url, body } of since) {
      const bytes = await body
      assert.ok(bytes, `the answer of ${url.pathname} could not be read`)
      if (bytes.includes(secret)) carriers.add(url.origin)
    }
    assert.deepEqual([...carriers], [new URL(stack.s3.endpoint).origin])
    const answers = await Promise.all(
      ['/api/v1/requests', `/api/v1${new URL(page.url()).pathname}`].map(async (path) =>
        (await fetch(stack.origin + path)).text(),
      ),
    )
    for (const answer of answers) assert.ok(answer.includes('/payload') && !answer.includes(secret))
    const ofBucket = since.filter(({ url }) => url.origin !== stack.origin).length
    return `${ofBucket} of ${since.length} answers came from the bucket`
  })
  await cell('a changed object is reported and not shown', async () => {
    const bytes = Buffer.from('{"amount":100}')
    const tampered = Buffer.from('{"amount":999}')
    const responseBody = { bytes, tampered, contentType: 'application/json' }
    await feeder.push([get('/tampered', { responseBody })])
    const shown = await panelText(await openTab(page, '/tampered', 'Response'), /Hash mismatch/)
    assert.doesNotMatch(shown, /999/)
    return shown.replaceAll('\n', ' ').slice(0, 90)
  })
  await cell('a truncated body says how much is stored', async () => {
    const responseBody = { ...text('0123456789', 'text/plain'), wholeSize: 5000 }
    await feeder.push([get('/cut', { responseBody })])
    const shown = await panelText(await openTab(page, '/cut', 'Response'), /stored/)
    assert.match(shown, /stored 10 of 5\s000 bytes/)
    return undefined
  })
  await cell('a gzip body is unpacked', async () => {
    const bytes = gzipSync('{"packed":true}')
    const responseBody = { bytes, contentType: 'application/json' }
    const responseHeaders = [['Content-Encoding', 'gzip']] as const
    await feeder.push([get('/packed', { responseBody, responseHeaders })])
    await panelText(await openTab(page, '/packed', 'Response'), /"packed": true/)
    return undefined
  })
}

const hostile =
  '<!doctype html><title>owned</title><script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>'

const checkHostile = async ({ cell, page, feeder }: Bench): Promise<void> => {
  await cell('a body of markup and scripts stays inert text', async () => {
    const responseBody = text(hostile, 'text/html')
    const responseHeaders = [['X-Evil', '<script>document.title="owned"</script>']] as const
    await feeder.push([get('/hostile', { responseBody, responseHeaders })])
    await panelText(await openTab(page, '/hostile', 'Headers'), /<script>document/)
    const shown = await panelText(await openTab(page, '/hostile', 'Response'), /onerror/)
    assert.ok(shown.includes(hostile))
    assert.equal(await page.locator('#page script, #page img, #page iframe, #page title').count(), 0)
    assert.equal(await page.title(), 'Cleartap')
    return undefined
  })
  await cell('markup in method, host, path and process stays text in the table', async () => {
    const path = '/<img src=x onerror=document.title="owned">'
    await feeder.push([get(path, { host: '<b>bold</b>', process: { comm: '<i>comm</i>' } })])
    await appears(rowOf(page, path))
    assert.equal(await page.locator('tbody :is(b, i, img)').count(), 0)
    assert.equal(await page.title(), 'Cleartap')
    return undefined
  })
}

const checkConnection = async ({ cell, page, feeder, stack }: Bench): Promise<void> => {
  await cell('an address opens its request directly', async () => {
    const [id] = await feeder.push([get('/linked', { event: { bytesLost: 512n, completeness: 2 } })])
    await page.goto(`${stack.origin}/requests/${id}`)
    const detail = page.getByRole('complementary')
    await appears(detail.getByText('/linked'))
    await appears(detail.getByText('The agent lost 512 B of this exchange.'))
    await appears(detail.getByText('exact: socket I/O was seen inside the TLS call'))
    await page.keyboard.press('Escape')
    assert.equal(new URL(page.url()).pathname, '/')
    return undefined
  })
  await cell('the tail reconnects by itself and misses nothing', async () => {
    await appears(page.getByText('Live', { exact: true }))
    await stack.controlplane.stop()
    await appears(page.getByText(/^Reconnecting/))
    await feeder.push([get('/while-away')])
    await stack.controlplane.start()
    await appears(rowOf(page, '/while-away'))
    await appears(page.getByText('Live', { exact: true }))
    return undefined
  })
}

const checkAgents = async ({ cell, page, stack }: Bench): Promise<void> => {
  const strip = page.getByRole('region', { name: 'Agents' })
  await cell('an agent that connects is shown with what it lost, and stays when it leaves', async () => {
    await appears(strip.getByText('No agent has connected yet'))
    const agent = playAgent(stack.controlplane.address('listen'), 'host-under-test')
    try {
      agent.report({ exchanges: 5n, bytesLost: 4096n })
      await appears(strip.getByText('1 of 1 agents connected'))
      await appears(strip.getByText('4.10 kB lost'))
    } finally {
      await agent.leave()
    }
    await appears(strip.getByText('0 of 1 agents connected'))
    const text = await textOf(strip.getByRole('listitem'))
    for (const part of ['host-under-test', '0.1.0', 'own file', 'away, seen']) {
      assert.ok(text.includes(part), `no ${part} in ${text}`)
    }
    return undefined
  })
}

const checkScrolling = async ({ cell, page, feeder, stack }: Bench): Promise<void> => {
  const many = 450
  const chip = page.getByRole('button', { name: /new$/ })
  await cell('older rows come by pages as the table is scrolled', async () => {
    const numbers = Array.from({ length: many }, (_, index) => index)
    await feeder.push(numbers.map((n) => get(`/bulk/${n}`, { host: 'bulk.example', metadataOnly: true })))
    await page.goto(`${stack.origin}/?host=bulk.example`)
    await appears(page.locator('tbody tr'))
    const drawn = await page.locator('tbody tr').count()
    assert.ok(drawn < 80, `${drawn} rows are drawn`)
    const end = page.getByText('No older requests.')
    for (let tries = 0; tries < 50 && !(await end.isVisible()); tries += 1) {
      await scrollTo(page, 'box.scrollHeight')
      await page.waitForTimeout(100)
    }
    await appears(end)
    assert.equal(await page.getByRole('grid').getAttribute('aria-rowcount'), String(many + 1))
    return `${many} rows held, ${drawn} drawn`
  })
  await cell('a scrolled table does not move; new rows wait behind a chip', async () => {
    await scrollTo(page, '3000')
    const middle = page.locator('tbody tr').nth(15)
    const before = [await textOf(middle), (await middle.boundingBox())?.y]
    await feeder.push([get('/bulk/new', { host: 'bulk.example', metadataOnly: true })])
    await appears(chip)
    assert.deepEqual([await textOf(middle), (await middle.boundingBox())?.y], before)
    assert.equal(await textOf(chip), '↑ 1 new')
    await chip.click()
    await appears(rowOf(page, '/bulk/new'))
    return undefined
  })
  await cell('a request without objects says that none were stored', async () => {
    await panelText(await openTab(page, '/bulk/new', 'Headers'), /No headers were stored/)
    return undefined
  })
}

/** Scrolls the table to a place given in JavaScript; returns when the rows there are drawn. */
const scrollTo = (page: Page, top: string): Promise<unknown> =>
  page.evaluate(
    `new Promise((resolve) => {
       const box = document.querySelector('.grid-scroll')
       box.scrollTop = ${top}
       requestAnimationFrame(() => requestAnimationFrame(resolve))
     })`,
  )

const checkPolicy = async ({ cell, page, watched, stack }: Bench): Promise<void> => {
  await cell('the content security policy is strict and never violated', async () => {
    const policy = (await fetch(stack.origin)).headers.get('content-security-policy') ?? ''
    assert.match(policy, /script-src 'self'(;|$)/)
    assert.doesNotMatch(policy, /unsafe-|\*/)
    assert.deepEqual(await watched.violations(), [])
    assert.deepEqual(watched.complaints, [])
    return undefined
  })
  await cell('the page calls its own origin and the bucket, nobody else', () => {
    const origins = new Set(watched.loaded.map(({ url }) => url.origin))
    assert.deepEqual([...origins].sort(), [stack.origin, new URL(stack.s3.endpoint).origin].sort())
    return `${watched.loaded.length} answers`
  })
  await cell('the table is a table to a screen reader', async () => {
    await page.keyboard.press('Escape')
    const grid = page.getByRole('grid')
    const names = await grid.getByRole('columnheader').allTextContents()
    assert.equal(names.length, Number(await grid.getAttribute('aria-colcount')))
    const rows = await page.locator('tbody').getByRole('row').count()
    assert.ok(rows > 0)
    assert.ok(Number(await grid.getAttribute('aria-rowcount')) > rows - 1)
    const cells = page.locator('tbody tr').first().getByRole('gridcell')
    assert.equal(await cells.count(), names.length)
    assert.equal(await cells.last().getAttribute('aria-colindex'), String(names.length))
    return names.join(', ')
  })
}

const run = async (context: SuiteContext): Promise<void> =>
  withTemporaryDirectory(async (directory) => {
    const browser = await startBrowser()
    try {
      const stack = await startPageStack(directory)
      const feeder = openFeeder(stack.s3, stack.pulse.address('listen'))
      try {
        const watched = await openPage(browser, stack.origin)
        const bench = { ...context, stack, feeder, watched, page: watched.page }
        await checkTable(bench)
        await checkPayload(bench)
        await checkHostile(bench)
        await checkAgents(bench)
        await checkPolicy(bench)
        await checkScrolling(bench)
        await checkConnection(bench)
      } finally {
        feeder.close()
        await stack.stop()
      }
    } finally {
      await browser.close()
    }
  })

export const suite: Suite = {
  name: 'browser',
  about: 'the web page in Chromium: live rows, payload from the bucket, hostile content, strict policy',
  run,
}
