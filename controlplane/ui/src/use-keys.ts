import { useEffect, useEffectEvent } from 'react'

export interface KeyActions {
  /** Down is +1. */
  readonly move: (by: number) => void
  readonly open: () => void
  readonly close: () => void
  readonly focusFilter: () => void
  readonly togglePause: () => void
}

/** The page's keys: j/k or arrows, Enter, Esc, "/", space. Keys typed into an input belong to it, but for Esc. */
export function useKeys(actions: KeyActions): void {
  const onKey = useEffectEvent((event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const target = event.target
    if (target instanceof HTMLElement && target.closest('input, select, textarea') !== null) {
      if (event.key === 'Escape') target.blur()
      return
    }
    const isOnControl =
      target instanceof HTMLElement && target.closest('button, a, [role="tab"], pre') !== null
    if (takeKey(event.key, isOnControl, actions)) event.preventDefault()
  })
  useEffect(() => {
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
}

function takeKey(key: string, isOnControl: boolean, actions: KeyActions): boolean {
  if (key === 'j' || (key === 'ArrowDown' && !isOnControl)) actions.move(1)
  else if (key === 'k' || (key === 'ArrowUp' && !isOnControl)) actions.move(-1)
  else if (key === 'Enter' && !isOnControl) actions.open()
  else if (key === 'Escape') actions.close()
  else if (key === '/') actions.focusFilter()
  else if (key === ' ' && !isOnControl) actions.togglePause()
  else return false
  return true
}
