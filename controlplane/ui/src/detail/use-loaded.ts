import { type DependencyList, useEffect, useState } from 'react'
import { reasonOf } from '../../../ui-model/problem.js'

export type Loaded<T> =
  | { readonly kind: 'loading' }
  | { readonly kind: 'ready'; readonly value: T }
  | { readonly kind: 'failed'; readonly reason: string }

/** Runs load when a dependency changes, aborting the run before it. */
export function useLoaded<T>(
  load: (signal: AbortSignal) => Promise<T>,
  dependencies: DependencyList,
): Loaded<T> {
  const [state, setState] = useState<Loaded<T>>({ kind: 'loading' })
  useEffect(() => {
    const stopped = new AbortController()
    setState({ kind: 'loading' })
    load(stopped.signal).then(
      (value) => !stopped.signal.aborted && setState({ kind: 'ready', value }),
      (error: unknown) => !stopped.signal.aborted && setState({ kind: 'failed', reason: reasonOf(error) }),
    )
    return () => stopped.abort()
    // biome-ignore lint/correctness/useExhaustiveDependencies: the caller names what the load depends on
  }, dependencies)
  return state
}
