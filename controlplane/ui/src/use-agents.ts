import { useEffect, useState } from 'react'
import type { AgentView } from '../../ui-model/agents.js'
import { reasonOf } from '../../ui-model/problem.js'
import { listAgents } from './api.js'

const POLL_INTERVAL_MS = 5000

export interface AgentsState {
  /** Undefined until the first answer; kept when a later call fails. */
  readonly agents: readonly AgentView[] | undefined
  readonly error: string | undefined
}

/** The agents, asked for every five seconds while the page is visible. */
export function useAgents(): AgentsState {
  const [state, setState] = useState<AgentsState>({ agents: undefined, error: undefined })
  useEffect(() => {
    const stopped = new AbortController()
    const poll = async () => {
      if (document.hidden) return
      try {
        setState({ agents: await listAgents(stopped.signal), error: undefined })
      } catch (error) {
        if (!stopped.signal.aborted) setState((old) => ({ ...old, error: reasonOf(error) }))
      }
    }
    void poll()
    const timer = setInterval(() => void poll(), POLL_INTERVAL_MS)
    document.addEventListener('visibilitychange', poll, { signal: stopped.signal })
    return () => {
      clearInterval(timer)
      stopped.abort()
    }
  }, [])
  return state
}
