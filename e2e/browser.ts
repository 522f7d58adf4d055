/** A real browser on the page, and what it loads, logs and refuses. */
import { access } from 'node:fs/promises'
import { type Browser, chromium, type Page } from 'playwright-core'
import { CannotRun } from './suite.js'

const executable = '/usr/bin/chromium'
const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** Throws CannotRun if there is no browser. */
export const startBrowser = async (): Promise<Browser> => {
  await access(executable).catch(() => {
    throw new CannotRun(`there is no ${executable}: apt-get install chromium`)
  })
  return chromium.launch({ executablePath: executable, args: quiet })
}

export interface Loaded {
  readonly url: URL
  readonly method: string
  readonly status: number
  /** The whole body, read as it comes; undefined if the page let go of the answer, as of a stream. */
  readonly body: Promise<Buffer | undefined>
}

export interface WatchedPage {
  readonly page: Page
  /** Every answer since the page was opened. */
  readonly loaded: readonly Loaded[]
  /** Uncaught errors, and warnings of the browser other than for answers that are not 2xx. */
  readonly complaints: readonly string[]
  /** Directives of the content security policy that were violated. */
  violations(): Promise<readonly string[]>
}

/** Opens an address in a context of its own and records what happens from the first byte on. */
export const openPage = async (browser: Browser, url: string): Promise<WatchedPage> => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  const page = await context.newPage()
  const loaded: Loaded[] = []
  const complaints: string[] = []
  page.on('response', (response) => {
    loaded.push({
      url: new URL(response.url()),
      method: response.request().method(),
      status: response.status(),
      body: response.body().catch(() => undefined),
    })
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    const isAnswer = message.text().startsWith('Failed to load resource')
    if (['error', 'warning'].includes(message.type()) && !isAnswer) complaints.push(message.text())
  })
  await page.addInitScript(
    `window.seenViolations = []
     addEventListener('securitypolicyviolation', (event) => window.seenViolations.push(event.violatedDirective + ' ' + event.blockedURI))`,
  )
  await page.goto(url)
  return { page, loaded, complaints, violations: () => page.evaluate('window.seenViolations') }
}
