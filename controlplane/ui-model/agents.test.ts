import assert from 'node:assert/strict'
import { parseAgents } from './agents.js'

describe('agents', () => {
  it('reads what the control plane answers', () => {
    const [agent] = parseAgents({
      agents: [
        {
          id: '0192f0aa-1234-7abc-8def-0123456789ab',
          host: 'web-01',
          version: '0.1.0',
          kernel: '6.18.44',
          connected: true,
          lastSeen: '2026-11-23T18:00:00.000Z',
          running: { version: 3, sha256: '' },
          lastAttempt: {
            version: 4,
            state: 'rejected',
            error: { message: 'capture.level: got "all"', errors: [] },
          },
          stats: { capture: { bytesLost: '4096' } },
        },
      ],
    })
    assert.deepEqual(agent, {
      id: '0192f0aa-1234-7abc-8def-0123456789ab',
      host: 'web-01',
      version: '0.1.0',
      kernel: '6.18.44',
      connected: true,
      lastSeenMs: Date.UTC(2026, 10, 23, 18),
      runningVersion: '3',
      configError: 'revision 4: capture.level: got "all"',
      bytesLost: 4096,
    })
  })

  it('tells no loss from no report', () => {
    const [silent, clean] = parseAgents({ agents: [{ stats: {} }, { stats: { capture: {} } }] })
    assert.equal(silent?.bytesLost, undefined)
    assert.equal(clean?.bytesLost, 0)
    assert.equal(silent?.lastSeenMs, undefined)
    assert.equal(silent?.runningVersion, '0')
    assert.equal(silent?.configError, undefined)
  })

  it('refuses an answer that is no list', () => {
    assert.throws(() => parseAgents({ agents: {} }), /no list "agents"/)
    assert.throws(() => parseAgents(null), /no list "agents"/)
  })
})
