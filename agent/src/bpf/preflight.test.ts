import assert from 'node:assert/strict'
import { checkHost, type HostFacts } from './preflight.js'

const good: HostFacts = {
  platform: 'linux',
  arch: 'x64',
  release: '6.18.44-generic',
  hasKernelTypes: true,
  capabilities: (1n << 39n) | (1n << 38n) | (1n << 19n),
  pidNamespace: 'pid:[4026531836]',
  lockdown: 'none [integrity] confidentiality',
}

describe('checkHost', () => {
  it('accepts a host with what is needed', () => {
    assert.deepEqual(checkHost(good), { ok: true })
    assert.deepEqual(checkHost({ ...good, capabilities: (1n << 21n) | (1n << 19n) }), { ok: true })
  })

  it('names each missing capability and ends with 4', () => {
    const result = checkHost({ ...good, capabilities: 0n })
    assert.equal(result.ok, false)
    assert.equal(!result.ok && result.exitCode, 4)
    assert.match(result.ok ? '' : result.message, /CAP_BPF.*CAP_PERFMON.*CAP_SYS_PTRACE/)
    const one = checkHost({ ...good, capabilities: good.capabilities ^ (1n << 38n) })
    assert.match(one.ok ? '' : one.message, /^missing privilege: CAP_PERFMON \(to trace\)\. /)
  })

  const unsupported: readonly (readonly [string, Partial<HostFacts>, RegExp])[] = [
    ['another system', { platform: 'darwin' }, /darwin/],
    ['another machine', { arch: 'arm64' }, /arm64/],
    ['an old kernel', { release: '5.15.0-91' }, /5\.15\.0-91.*6\.1/],
    ['an old minor version', { release: '6.0.9' }, /6\.0\.9/],
    ['a kernel without types', { hasKernelTypes: false }, /CONFIG_DEBUG_INFO_BTF/],
    ['lockdown', { lockdown: 'none integrity [confidentiality]' }, /confidentiality/],
    ['a pid namespace', { pidNamespace: 'pid:[4026532000]' }, /4026532000/],
  ]
  for (const [name, change, message] of unsupported)
    it(`refuses ${name} with 5, before privileges`, () => {
      const result = checkHost({ ...good, capabilities: 0n, ...change })
      assert.equal(!result.ok && result.exitCode, 5)
      assert.match(result.ok ? '' : result.message, message)
    })
})
