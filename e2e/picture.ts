/**
 * node dist/e2e/picture.js PAGE_URL [--open PATH] [--out FILE] [--dark]
 *
 * Takes the picture of the README from a running stack, such as the demo: the table with one request open, its
 * response fetched from the bucket. --open names a path in the table; without it the newest request that has a
 * response body that the page can lay out is opened.
 */
import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Locator, Page } from 'playwright-core'
import { checkout } from '../deploy/local/checkout.js'
import { startBrowser } from './browser.js'

const usage = 'usage: node dist/e2e/picture.js PAGE_URL [--open PATH] [--out FILE] [--dark]'
const patienceMs = 15_000
/** Rows that are tried until one has a body worth showing. */
const maxTries = 20

const showsBody = async (page: Page, row: Locator): Promise<boolean> => {
  await row.click()
  await page.getByRole('tab', { name: 'Response', exact: true }).click()
  const pretty = page.getByText('Pretty', { exact: true })
  return pretty.waitFor({ timeout: 1500 }).then(
    () => true,
    () => false,
  )
}

const openBody = async (page: Page, path: string | undefined): Promise<void> => {
  const named = path === undefined ? undefined : page.getByText(path, { exact: true })
  const rows = page.locator('tbody tr')
  await rows.first().waitFor({ timeout: patienceMs })
  await page.getByRole('button', { name: /^Pause/ }).click()
  if (named !== undefined) {
    if (await showsBody(page, rows.filter({ has: named }).first())) return
    throw new Error(`the request ${path} has no body that can be laid out`)
  }
  const count = Math.min(maxTries, await rows.count())
  for (let index = 0; index < count; index += 1) if (await showsBody(page, rows.nth(index))) return
  throw new Error(`none of the newest ${count} requests has a body that can be laid out`)
}

const takePicture = async (url: string, path: string | undefined, out: string, dark: boolean) => {
  const browser = await startBrowser()
  try {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 760 },
      deviceScaleFactor: 2,
      colorScheme: dark ? 'dark' : 'light',
    })
    const page = await context.newPage()
    await page.goto(url)
    await openBody(page, path)
    await page.getByRole('button', { name: /^Resume/ }).click()
    await page.getByText('verified').waitFor({ timeout: patienceMs })
    await mkdir(dirname(out), { recursive: true })
    await page.mouse.move(0, 0)
    await page.getByText('Live', { exact: true }).waitFor({ timeout: patienceMs })
    await page.screenshot({ path: out })
  } finally {
    await browser.close()
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { open: { type: 'string' }, out: { type: 'string' }, dark: { type: 'boolean', default: false } },
})
const [url, ...others] = positionals
if (url === undefined || others.length > 0) {
  process.stderr.write(`${usage}\n`)
  process.exitCode = 2
} else {
  const out = resolve(values.out ?? join(checkout.root, 'docs', 'images', 'page.png'))
  await takePicture(url, values.open, out, values.dark)
  process.stdout.write(`${out}\n`)
}
