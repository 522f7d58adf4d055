/** Which revision the agent runs, and what happens to one that it is pushed. */
import { ConfigError } from '../../common/config/load.js'
import { maxRevisionBytes, parseRevision } from '../../common/config/revision.js'
import type { CaptureConfig } from '../../common/config/schema.js'
import type { Logger } from '../../common/log.js'
import type { ConfigPush, ResourceError } from '../../gen/cleartap/controlplane/v1/config.js'
import { type ConfigStore, hashContent, type StoredAttempt, type StoredRevision } from './config-store.js'

/** The resource that this agent knows: its capture settings. */
export const agentResource = 'agent'

/** Versions are counted one by one: a larger number than this is not one. */
const maxVersion = 2n ** 53n - 1n

/** A version during which the agent ended so often, before it was applied, is not tried again. */
const maxTries = 3

/**
 * Puts settings into force without a restart. Rejects if it cannot: then the earlier ones must still be in force.
 */
export type ApplyCapture = (capture: CaptureConfig) => Promise<void>

export interface RunningRevision {
  /** 0n: the file that the agent was started with. */
  readonly version: bigint
  /** Hexadecimal, or empty for version 0. */
  readonly sha256: string
}

export type PushOutcome =
  | { readonly kind: 'applied' }
  | { readonly kind: 'rejected'; readonly errors: readonly ResourceError[] }

const fromFile: RunningRevision = { version: 0n, sha256: '' }

export class ConfigRevisions {
  readonly #store: ConfigStore
  readonly #apply: ApplyCapture
  readonly #log: Logger
  #running = fromFile
  #lastGood = fromFile
  #lastAttempt: StoredAttempt | undefined

  constructor(store: ConfigStore, apply: ApplyCapture, log: Logger) {
    this.#store = store
    this.#apply = apply
    this.#log = log
    this.#lastAttempt = store.readLastAttempt()
  }

  get running(): RunningRevision {
    return this.#running
  }

  /** What a restart would use. */
  get lastGood(): RunningRevision {
    return this.#lastGood
  }

  get lastAttempt(): StoredAttempt | undefined {
    return this.#lastAttempt
  }

  /** Puts the last good revision into force, if there is one; without it the file's settings stay. Never rejects. */
  async restore(): Promise<void> {
    const stored = this.#store.readLastGood()
    if (stored === undefined) return
    try {
      await this.#apply(parseRevision(stored.content))
      this.#running = { version: BigInt(stored.version), sha256: stored.sha256 }
      this.#lastGood = this.#running
    } catch (error) {
      this.#log.error({ version: stored.version, error }, 'the last good configuration no longer applies')
    }
  }

  /** Applies a pushed revision or says why not. Never rejects. One at a time. */
  async take(push: ConfigPush): Promise<PushOutcome> {
    const refusal = this.#refusal(push)
    if (refusal !== undefined) return this.#reject(push, [refusal])
    if (this.#isRunning(push)) return { kind: 'applied' }
    const content = push.content.toString('utf8')
    const parsed = parse(content)
    if (parsed.kind === 'invalid') return this.#reject(push, parsed.errors)
    await this.#note(push, 'applying', '')
    try {
      await this.#apply(parsed.capture)
    } catch (error) {
      return this.#reject(push, [resourceError('APPLY_FAILED', messageOf(error))])
    }
    await this.#keep({ version: versionText(push), sha256: shaOf(push), content })
    await this.#note(push, 'applied', '')
    this.#log.info({ version: versionText(push) }, 'configuration applied')
    return { kind: 'applied' }
  }

  /** Why a push is refused before its content is looked at. */
  #refusal(push: ConfigPush): ResourceError | undefined {
    const { config, content } = push
    if (config?.resource !== agentResource) {
      const got = JSON.stringify(config?.resource ?? '')
      return resourceError('UNKNOWN_RESOURCE', `got ${got}; accepted: "${agentResource}"`)
    }
    if (config.version > maxVersion) {
      return resourceError('VERSION_TOO_LARGE', `got version ${config.version}; at most ${maxVersion}`)
    }
    if (content.length > maxRevisionBytes) {
      return resourceError('TOO_LARGE', `got ${content.length} bytes; at most ${maxRevisionBytes}`)
    }
    if (hashContent(content) !== shaOf(push)) {
      return resourceError('CHECKSUM_MISMATCH', 'the content does not have the SHA-256 that came with it')
    }
    if (this.#isRunning(push)) return undefined
    if (config.version <= this.#running.version) {
      const message = `got version ${config.version}; running ${this.#running.version}: versions only rise`
      return resourceError('VERSION_NOT_NEWER', message)
    }
    const { version, state, tries } = this.#lastAttempt ?? { version: '', state: 'applied', tries: 0 }
    if (version === versionText(push) && state === 'applying' && tries >= maxTries) {
      return resourceError('AGENT_ENDED', `the agent ended ${tries} times while applying this version`)
    }
    return undefined
  }

  #isRunning(push: ConfigPush): boolean {
    return push.config?.version === this.#running.version && shaOf(push) === this.#running.sha256
  }

  async #reject(push: ConfigPush, errors: readonly ResourceError[]): Promise<PushOutcome> {
    const reason = errors.map(({ message }) => message).join('; ')
    this.#log.warn({ version: versionText(push), reason }, 'configuration rejected')
    await this.#note(push, 'rejected', reason)
    return { kind: 'rejected', errors }
  }

  async #note(push: ConfigPush, state: StoredAttempt['state'], error: string): Promise<void> {
    if (push.config === undefined || push.config.sha256.length !== 32) return
    if (push.config.version === 0n || push.config.version > maxVersion) return
    const version = versionText(push)
    const earlier = this.#lastAttempt?.version === version ? this.#lastAttempt.tries : 0
    const tries = state === 'applying' || earlier === 0 ? earlier + 1 : earlier
    this.#lastAttempt = { version, sha256: shaOf(push), state, error, atMs: Date.now(), tries }
    await this.#logged(this.#store.writeLastAttempt(this.#lastAttempt))
  }

  /** The revision runs. If it cannot be stored, a restart uses the one before, and lastGood says so. */
  async #keep(revision: StoredRevision): Promise<void> {
    this.#running = { version: BigInt(revision.version), sha256: revision.sha256 }
    if (await this.#logged(this.#store.writeLastGood(revision))) this.#lastGood = this.#running
  }

  async #logged(writing: Promise<void>): Promise<boolean> {
    try {
      await writing
      return true
    } catch (error) {
      this.#log.error({ error }, 'the configuration store cannot be written')
      return false
    }
  }
}

type Parsed =
  | { readonly kind: 'valid'; readonly capture: CaptureConfig }
  | { readonly kind: 'invalid'; readonly errors: readonly ResourceError[] }

function parse(content: string): Parsed {
  try {
    return { kind: 'valid', capture: parseRevision(content) }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const errors = error.problems.map(({ path = '', line = 0, column = 0, text }) => ({
      ...resourceError('INVALID', text),
      path,
      line,
      column,
    }))
    return { kind: 'invalid', errors }
  }
}

function resourceError(code: string, message: string): ResourceError {
  return { resource: agentResource, path: '', code, message, line: 0, column: 0 }
}

function versionText(push: ConfigPush): string {
  return String(push.config?.version ?? 0n)
}

function shaOf(push: ConfigPush): string {
  return push.config?.sha256.toString('hex') ?? ''
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
