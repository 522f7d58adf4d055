import assert from 'node:assert/strict'
import { readStatement } from './statement.js'

describe('statement', () => {
  it('lets one statement through', () => {
    const plain: [string, boolean][] = [
      ['SELECT 1', true],
      ['select 1;', true],
      [' -- a; b\n/* ; */ SELECT \';\', ";", `;`, $x$;$x$ ; ', true],
      ["SELECT 'it''s; \\'; '", true],
      ['WITH 1 AS x SELECT x', true],
      ['WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x', false],
      ['CREATE TABLE t (a UInt8) ENGINE = Memory', false],
      ['INSERT INTO t SELECT 1', false],
    ]
    for (const [sql, readsOnly] of plain) {
      const statement = readStatement(sql)
      assert.deepEqual(
        [statement.kind, 'readsOnly' in statement && statement.readsOnly],
        ['plain', readsOnly],
        sql,
      )
    }
  })

  it('cuts an insert where its rows come in', () => {
    assert.deepEqual(readStatement('INSERT INTO q.t (a, `format`) SETTINGS x = 1 FORMAT RowBinary'), {
      kind: 'rows',
      beforeRows: 'INSERT INTO q.t (a, `format`) ',
      afterRows: 'SETTINGS x = 1 FORMAT RowBinary',
    })
    assert.deepEqual(readStatement('insert into t format JSONEachRow;'), {
      kind: 'rows',
      beforeRows: 'insert into t ',
      afterRows: 'format JSONEachRow',
    })
  })

  it('refuses rows inside, files, functions and several statements', () => {
    const refused: [string, RegExp][] = [
      ['', /empty/],
      [' ; ', /empty/],
      ['SELECT 1; SELECT 2', /more than one/],
      ["SELECT '", /without an end/],
      ['SELECT /* 1', /without an end/],
      ['SELECT $a$ 1', /without an end/],
      ['INSERT INTO t VALUES (1)', /VALUES/],
      ['INSERT INTO t FORMAT TSV 1\t2', /rows inside/],
      ['INSERT INTO t FORMAT JSONEachRow {"a":1}', /rows inside/],
      ['INSERT INTO t', /needs a FORMAT/],
      ["INSERT INTO t SELECT * FROM input('a UInt8') FORMAT TSV", /input\(\)/],
      ["INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV", /INFILE/],
      ["SELECT 1 INTO OUTFILE '/tmp/x'", /OUTFILE/],
      ["INSERT INTO FUNCTION file('x', 'TSV') SELECT 1", /FUNCTION/],
    ]
    for (const [sql, reason] of refused) {
      const statement = readStatement(sql)
      assert.equal(statement.kind, 'refused', sql)
      assert.match(statement.kind === 'refused' ? statement.reason : '', reason)
    }
  })
})
