/** Content that does harm where it is taken for a statement, the end of a row, a path or an order to a terminal. */

/** As a request or response may carry them anywhere in a body. */
export const hostileBodies: readonly Buffer[] = [
  Buffer.from('\n\nDROP TABLE cleartap.requests\n\n'),
  Buffer.from("'; DROP DATABASE cleartap; --\n"),
  Buffer.from('\n\nINSERT INTO cleartap.requests SELECT * FROM cleartap.requests\n\n'),
  Buffer.from("') FORMAT TSV\n1\t2\t3\n\\N\n\nALTER TABLE cleartap.requests DELETE WHERE 1"),
  Buffer.from(' FORMAT RowBinary\n\n\0\u0001\u0002INSERT INTO cleartap.requests FORMAT JSONEachRow {"a":1}'),
  Buffer.from('\u001b]0;owned\u0007\u001b[2J\u001b[31mred\u009b5n\u0090q\u009c'),
  Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'),
  Buffer.from('\u2028\u2029\ufeff\u202e\u{1f642}\u{10ffff}'),
  Buffer.from([0xff, 0xfe, 0x00, 0x80, 0xc0, 0xaf, 0xed, 0xa0, 0x80, 0x00]),
  Buffer.from(Array.from({ length: 256 * 40 }, (_, at) => at % 256)),
]

/** Without blanks and control characters, which HTTP keeps out of targets. */
export const hostileTargets: readonly Buffer[] = [
  Buffer.from("';DROP/**/TABLE/**/cleartap.requests;--"),
  Buffer.from(`"\\N\\n\\t\\x00\\'{p0:String}$x$\`a\`<script>alert(1)</script>`),
  Buffer.from('..%2f..%2f..%2fetc%2fpasswd%00%0a%0aDROP%20TABLE%20cleartap.requests'),
  Buffer.from("')FORMAT/**/TSV;INSERT/**/INTO/**/cleartap.requests/**/SELECT"),
  Buffer.from('à-é-ü-\u{1f642}-\u202e-\u2028-\ufeff-\u00a0'),
  Buffer.from([0x9b, 0x35, 0x6e, 0x85, 0xa0, 0xff, 0xfe, 0xc0, 0xaf]),
  Buffer.from('x'.repeat(12_000)),
]

/** With what field values may hold: all but CR, LF and NUL. */
export const hostileValues: readonly Buffer[] = [
  Buffer.from("'; DROP TABLE cleartap.requests; --"),
  Buffer.from("' UNION ALL SELECT * FROM file('/etc/passwd') FORMAT TSV"),
  Buffer.from('\u001b]0;owned\u0007\u001b[2J\u001b[31m\u009b5n'),
  Buffer.from('\\N\t\\t\\x00 {p0:String} $x$ `a` "b" /* c -- d'),
  Buffer.from('à \u{1f642} \u202e \u2028 \ufeff \u{10ffff}'),
  Buffer.from([0xff, 0xfe, 0x80, 0xc0, 0xaf, 0x01, 0x7f]),
  Buffer.from('y'.repeat(5000)),
]

/** File names, so no slash and no NUL; with what a process may be called. */
export const hostileNames: readonly string[] = [
  "x'; DROP TABLE cleartap.requests; --",
  'a b\n\nINSERT INTO cleartap.requests SELECT * FROM cleartap.requests\n\n',
  '\u001b]0;owned\u0007\u001b[2J\u001b[31m "quoted" $(reboot) `id`',
  `é\u{1f642}\u202e\u2028) FORMAT TSV;${'z'.repeat(150)}`,
]
