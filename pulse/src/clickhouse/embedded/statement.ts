/**
 * What a statement is, found without parsing it: enough to keep rows out of SQL text and files out of reach.
 *
 * The engine runs everything after a blank line of inline rows as SQL, and reads any file that a statement
 * names. So rows come by file only, named by us, and one request is one statement.
 */

/** A statement that may run. `rows`: its rows are the request body, and `beforeRows`/`afterRows` enclose INFILE. */
export type Statement =
  | { readonly kind: 'plain'; readonly sql: string; readonly readsOnly: boolean }
  | { readonly kind: 'rows'; readonly beforeRows: string; readonly afterRows: string }
  | { readonly kind: 'refused'; readonly code: number; readonly reason: string }

interface Token {
  readonly kind: 'word' | 'punctuation' | 'quoted'
  /** Words in upper case, punctuation as it is, quoted text empty. */
  readonly text: string
  readonly start: number
  readonly end: number
}

const SYNTAX_ERROR = 62
const NOT_ALLOWED = 497
const READING = new Set(['SELECT', 'WITH', 'SHOW', 'DESCRIBE', 'DESC', 'EXISTS', 'EXPLAIN', 'CHECK'])

/** Sorts a statement. Never throws. */
export function readStatement(sql: string): Statement {
  const tokens = tokenize(sql)
  if (typeof tokens === 'string') return refuse(SYNTAX_ERROR, tokens)
  const end = tokens.findIndex((token) => token.text === ';')
  if (end >= 0 && end < tokens.length - 1) return refuse(SYNTAX_ERROR, 'got more than one statement')
  const body = end < 0 ? tokens : tokens.slice(0, end)
  const first = body[0]
  if (first === undefined) return refuse(SYNTAX_ERROR, 'got an empty statement')
  const file = body.find((token) => token.text === 'INFILE' || token.text === 'OUTFILE')
  if (file) return refuse(NOT_ALLOWED, `${file.text} is not allowed: rows are the request body`)
  const text = sql.slice(0, body.at(-1)?.end)
  if (first.text === 'INSERT') return readInsert(text, body)
  return { kind: 'plain', sql: text, readsOnly: READING.has(first.text) && !hasWord(body, 'INSERT') }
}

function readInsert(sql: string, tokens: readonly Token[]): Statement {
  if (hasWord(tokens, 'FUNCTION')) return refuse(NOT_ALLOWED, 'INSERT INTO FUNCTION is not allowed')
  if (tokens.some((token, i) => token.text === 'INPUT' && tokens[i + 1]?.text === '(')) {
    return refuse(NOT_ALLOWED, 'input() is not supported')
  }
  const outer = outsideParentheses(tokens)
  if (hasWord(outer, 'VALUES'))
    return refuse(NOT_ALLOWED, 'INSERT … VALUES is not allowed: rows are the body')
  if (hasWord(outer, 'SELECT') || hasWord(outer, 'WITH')) return { kind: 'plain', sql, readsOnly: false }
  const format = outer.findIndex((token) => token.text === 'FORMAT')
  const formatToken = outer[format]
  if (formatToken === undefined)
    return refuse(SYNTAX_ERROR, 'INSERT needs a FORMAT and rows as the request body')
  if (outer[format + 1]?.kind !== 'word' || outer.length !== format + 2) {
    return refuse(NOT_ALLOWED, 'rows inside a statement are not allowed: rows are the request body')
  }
  const cut = (outer.find((token) => token.text === 'SETTINGS') ?? formatToken).start
  return { kind: 'rows', beforeRows: sql.slice(0, cut), afterRows: sql.slice(cut) }
}

function refuse(code: number, reason: string): Statement {
  return { kind: 'refused', code, reason }
}

function hasWord(tokens: readonly Token[], word: string): boolean {
  return tokens.some((token) => token.kind === 'word' && token.text === word)
}

function outsideParentheses(tokens: readonly Token[]): readonly Token[] {
  let depth = 0
  return tokens.filter((token) => {
    if (token.text === ')') depth -= 1
    const outside = depth === 0
    if (token.text === '(') depth += 1
    return outside
  })
}

/** Tokens without comments and space, or what is wrong with the text. */
function tokenize(sql: string): Token[] | string {
  const tokens: Token[] = []
  let at = 0
  while (at < sql.length) {
    const skipped = skipBlank(sql, at)
    if (skipped < 0) return 'got a comment without an end'
    if (skipped > at) {
      at = skipped
      continue
    }
    const token = readToken(sql, at)
    if (typeof token === 'string') return token
    tokens.push(token)
    at = token.end
  }
  return tokens
}

/** Where space and comments from `at` end; `at` if there are none; -1 if a comment never ends. */
function skipBlank(sql: string, at: number): number {
  if (/\s/.test(sql.charAt(at))) return at + 1
  const two = sql.slice(at, at + 2)
  if (two === '--' || two === '#!' || two === '# ') {
    const line = sql.indexOf('\n', at)
    return line < 0 ? sql.length : line + 1
  }
  if (two !== '/*') return at
  const end = sql.indexOf('*/', at + 2)
  return end < 0 ? -1 : end + 2
}

function readToken(sql: string, start: number): Token | string {
  const c = sql.charAt(start)
  if (c === "'" || c === '"' || c === '`') {
    const end = quoteEnd(sql, start, c)
    return end < 0 ? `got a quoted text without an end (${c})` : { kind: 'quoted', text: '', start, end }
  }
  const heredoc = /^\$\w*\$/.exec(sql.slice(start, start + 64))?.[0]
  if (heredoc) {
    const close = sql.indexOf(heredoc, start + heredoc.length)
    return close < 0
      ? 'got a heredoc without an end'
      : { kind: 'quoted', text: '', start, end: close + heredoc.length }
  }
  let end = start
  while (end < sql.length && /[\w$]/.test(sql.charAt(end))) end += 1
  if (end > start) return { kind: 'word', text: sql.slice(start, end).toUpperCase(), start, end }
  return { kind: 'punctuation', text: c, start, end: start + 1 }
}

/** Index after the closing quote, or -1. Backslash and a doubled quote escape. */
function quoteEnd(sql: string, start: number, quote: string): number {
  for (let at = start + 1; at < sql.length; at += 1) {
    const c = sql.charAt(at)
    if (c === '\\') at += 1
    else if (c === quote) {
      if (sql.charAt(at + 1) !== quote) return at + 1
      at += 1
    }
  }
  return -1
}
