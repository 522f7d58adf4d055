import { useCallback, useSyncExternalStore } from 'react'
import { type Route, routeFromUrl, routeToUrl } from '../../ui-model/filter.js'

const CHANGED = 'cleartap:route'

export interface RouteControl {
  readonly route: Route
  /** Goes to a route; "replace" leaves no step in the history. */
  readonly go: (route: Route, step?: 'push' | 'replace') => void
}

/** The page's address as its state. */
export function useRoute(): RouteControl {
  const url = useSyncExternalStore(subscribe, currentUrl)
  const { pathname, search } = new URL(url, location.origin)
  const go = useCallback((route: Route, step: 'push' | 'replace' = 'push') => {
    const next = routeToUrl(route)
    if (next === currentUrl()) return
    if (step === 'push') history.pushState(null, '', next)
    else history.replaceState(null, '', next)
    dispatchEvent(new Event(CHANGED))
  }, [])
  return { route: routeFromUrl(pathname, search), go }
}

function currentUrl(): string {
  return location.pathname + location.search
}

function subscribe(listener: () => void): () => void {
  addEventListener('popstate', listener)
  addEventListener(CHANGED, listener)
  return () => {
    removeEventListener('popstate', listener)
    removeEventListener(CHANGED, listener)
  }
}
