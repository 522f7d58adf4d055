import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { enums, structs } from './layout.js'

const header = fileURLToPath(new URL('../../../../bpf/events.h', import.meta.url))

/** Prints what the C compiler knows: one "name value" a line. */
function compiledLayout(): Map<string, number> {
  const directory = mkdtempSync(join(tmpdir(), 'cleartap-layout-'))
  try {
    const lines = ['#include <stddef.h>', '#include <stdio.h>', `#include "${header}"`, 'int main(void) {']
    for (const [name, fields] of Object.entries(structs)) {
      lines.push(`printf("${name} %zu\\n", sizeof(struct ${name}));`)
      for (const field of Object.keys(fields).filter((each) => each !== 'bytes'))
        lines.push(`printf("${name}.${field} %zu\\n", offsetof(struct ${name}, ${field}));`)
    }
    for (const values of Object.values(enums))
      for (const name of Object.keys(values)) lines.push(`printf("${name} %d\\n", ${name});`)
    lines.push('return 0; }')
    const source = join(directory, 'layout.c')
    const program = join(directory, 'layout')
    writeFileSync(source, lines.join('\n'))
    execFileSync('gcc', ['-o', program, source])
    const output = execFileSync(program, { encoding: 'utf8' })
    return new Map(
      output
        .trim()
        .split('\n')
        .map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])] as const),
    )
  } finally {
    rmSync(directory, { recursive: true })
  }
}

describe('layout', () => {
  const text = readFileSync(header, 'utf8')
  const compiled = compiledLayout()

  it('has the sizes, offsets and numbers that the C compiler has', () => {
    for (const [name, { bytes, ...fields }] of Object.entries(structs)) {
      assert.equal(bytes, compiled.get(name), name)
      for (const [field, offset] of Object.entries(fields))
        assert.equal(offset, compiled.get(`${name}.${field}`), `${name}.${field}`)
    }
    for (const values of Object.values(enums))
      for (const [name, value] of Object.entries(values)) assert.equal(value, compiled.get(name), name)
  })

  it('names every struct, field, enumeration and constant of the header', () => {
    for (const [, name = '', body = ''] of text.matchAll(/^struct (\w+) \{\n([\s\S]*?)^\};/gm)) {
      const known = Object.keys(structs[name as keyof typeof structs] ?? {})
      const fields = [...body.matchAll(/^\t[\w ]+ (\w+)(?:\[\d+\])?;/gm)].map((match) => match[1])
      assert.deepEqual(known, ['bytes', ...fields], `struct ${name}`)
    }
    for (const [, name = '', body = ''] of text.matchAll(/^enum (\w+) \{\n([\s\S]*?)^\};/gm)) {
      const known = Object.keys(enums[name as keyof typeof enums] ?? {})
      assert.deepEqual(
        known,
        [...body.matchAll(/^\t(\w+) = /gm)].map((match) => match[1]),
        `enum ${name}`,
      )
    }
  })

  it('keeps every record a multiple of 8 bytes, so that 64-bit fields can be viewed in place', () => {
    for (const [name, { bytes }] of Object.entries(structs)) assert.equal(bytes % 8, 0, name)
  })
})
