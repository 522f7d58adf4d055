import { useEffect, useState } from 'react'
import type { AgentView } from '../../ui-model/agents.js'
import { formatAge, formatBytes } from '../../ui-model/format.js'

export function AgentStrip({
  agents,
  error,
}: {
  agents: readonly AgentView[] | undefined
  error: string | undefined
}) {
  const nowMs = useNow()
  return (
    <section className="agents" aria-label="Agents">
      <h2>{summary(agents)}</h2>
      {error !== undefined && <p className="agents-error">{error}</p>}
      {agents !== undefined && agents.length > 0 && (
        <ul>
          {agents.map((agent) => (
            <AgentChip key={agent.id} agent={agent} nowMs={nowMs} />
          ))}
        </ul>
      )}
    </section>
  )
}

function summary(agents: readonly AgentView[] | undefined): string {
  if (agents === undefined) return 'Agents'
  if (agents.length === 0) return 'No agent has connected yet'
  return `${agents.filter((agent) => agent.connected).length} of ${agents.length} agents connected`
}

function AgentChip({ agent, nowMs }: { agent: AgentView; nowMs: number }) {
  const seen = agent.lastSeenMs === undefined ? 'never seen' : `seen ${formatAge(nowMs - agent.lastSeenMs)}`
  const isLosing = (agent.bytesLost ?? 0) > 0
  return (
    <li
      className={agent.connected ? 'agent is-connected' : 'agent'}
      title={`${agent.id}\nkernel ${agent.kernel}`}
    >
      <span className="agent-mark" aria-hidden="true" />
      <b>{agent.host || agent.id}</b>
      <span className="sr-only">{agent.connected ? 'connected' : 'not connected'}</span>
      <span>{agent.version}</span>
      <span>{agent.runningVersion === '0' ? 'own file' : `config ${agent.runningVersion}`}</span>
      <span>{agent.connected ? seen : `away, ${seen}`}</span>
      {agent.bytesLost !== undefined && (
        <span className={isLosing ? 'is-alarming' : undefined}>{formatBytes(agent.bytesLost)} lost</span>
      )}
      {agent.configError !== undefined && <span className="is-alarming">{agent.configError}</span>}
    </li>
  )
}

function useNow(): number {
  const [nowMs, setNowMs] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  return nowMs
}
