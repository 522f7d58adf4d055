/**
 * COMMAND | node dist/e2e/terminal-picture.js TITLE [--out FILE]
 *
 * Draws what a command printed (colours and all) as the picture of a terminal, for the README.
 */
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { startBrowser } from './browser.js'

const usage = 'usage: COMMAND | node dist/e2e/terminal-picture.js TITLE [--out FILE]'

/** Select Graphic Rendition codes (ECMA-48) that our own output uses. */
const styles: Readonly<Record<string, string>> = {
  '1': 'font-weight:bold',
  '2': 'color:#8b949e',
  '31': 'color:#ff7b72',
  '32': 'color:#7ee787',
  '33': 'color:#e3b341',
  '34': 'color:#79c0ff',
  '35': 'color:#d2a8ff',
  '36': 'color:#76e3ea',
  '90': 'color:#8b949e',
}

const escaped = (plain: string): string =>
  plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** Text with SGR sequences as HTML; other sequences do not occur in our output. */
const toHtml = (output: string): string => {
  const introducer = `${String.fromCharCode(27)}[`
  const [first = '', ...rest] = output.split(introducer)
  const pieces = rest.map((piece) => {
    const end = piece.indexOf('m')
    const codes = piece.slice(0, end).split(';')
    const style = codes.flatMap((code) => styles[code] ?? []).join(';')
    return `<span style="${style}">${escaped(piece.slice(end + 1))}</span>`
  })
  return escaped(first) + pieces.join('')
}

const pageOf = (title: string, output: string): string => `<!doctype html><meta charset="utf-8"><style>
  body { margin: 0; background: transparent; }
  main { display: inline-block; background: #0d1117; color: #e6edf3; border-radius: 10px; padding: 14px 20px 18px; }
  h1 { font: 13px sans-serif; color: #8b949e; margin: 0 0 12px; text-align: center; }
  pre { font: 13px/1.5 "DejaVu Sans Mono", monospace; margin: 0; }
</style><main><h1>${escaped(title)}</h1><pre>${toHtml(output.trimEnd())}</pre></main>`

const takePicture = async (title: string, output: string, path: string): Promise<void> => {
  const browser = await startBrowser()
  try {
    const context = await browser.newContext({
      deviceScaleFactor: 2,
      viewport: { width: 2000, height: 1000 },
    })
    const page = await context.newPage()
    await page.setContent(pageOf(title, output))
    await page.locator('main').screenshot({ path, omitBackground: true })
  } finally {
    await browser.close()
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string', default: 'docs/images/terminal.png' } },
})
const [title, ...others] = positionals
if (title === undefined || others.length > 0) {
  process.stderr.write(`${usage}\n`)
  process.exitCode = 2
} else {
  await takePicture(title, await text(process.stdin), values.out)
  process.stdout.write(`${values.out}\n`)
}
