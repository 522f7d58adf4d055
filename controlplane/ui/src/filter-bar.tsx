import { type RefObject, useEffect, useEffectEvent, useState } from 'react'
import {
  FILTER_FIELDS,
  type FilterField,
  isFiltering,
  type RequestFilter,
  withField,
} from '../../ui-model/filter.js'

const LABELS: Record<FilterField, string> = {
  method: 'Method',
  status: 'Status',
  host: 'Host',
  path: 'Path',
  comm: 'Process',
  exe: 'Executable',
  pid: 'PID',
}

const PLACEHOLDERS: Record<FilterField, string> = {
  method: 'GET',
  status: '5xx',
  host: 'api.example.com',
  path: '/v1/orders',
  comm: 'node',
  exe: '/usr/bin/node',
  pid: '1234',
}

const TEXT_HINT = 'Matches anywhere; a trailing * makes it a prefix, a leading = the whole'

const HINTS: Record<FilterField, string> = {
  method: 'Such as GET',
  status: '404, 5xx, 400-499, >=500; 0 where no response was seen',
  host: TEXT_HINT,
  path: TEXT_HINT,
  comm: TEXT_HINT,
  exe: TEXT_HINT,
  pid: 'Process id',
}

/** Time without a key before what was typed takes effect. */
const TYPING_PAUSE_MS = 300

interface FilterBarProps {
  readonly filter: RequestFilter
  readonly onChange: (filter: RequestFilter) => void
  readonly inputRef: RefObject<HTMLInputElement | null>
}

export function FilterBar({ filter, onChange, inputRef }: FilterBarProps) {
  return (
    <search className="filter-bar" aria-label="Filter requests">
      {FILTER_FIELDS.map((field) => (
        <FilterInput
          key={field}
          field={field}
          value={filter[field] ?? ''}
          onChange={(value) => onChange(withField(filter, field, value))}
          inputRef={field === 'host' ? inputRef : undefined}
        />
      ))}
      <button type="button" className="quiet" disabled={!isFiltering(filter)} onClick={() => onChange({})}>
        Reset
      </button>
    </search>
  )
}

interface FilterInputProps {
  readonly field: FilterField
  readonly value: string
  readonly onChange: (value: string) => void
  readonly inputRef: RefObject<HTMLInputElement | null> | undefined
}

function FilterInput({ field, value, onChange, inputRef }: FilterInputProps) {
  const [typed, setTyped] = useState(value)
  const [known, setKnown] = useState(value)
  if (known !== value) {
    setKnown(value)
    setTyped(value)
  }
  const apply = useEffectEvent(onChange)
  useEffect(() => {
    if (typed.trim() === value) return
    const timer = setTimeout(() => apply(typed), TYPING_PAUSE_MS)
    return () => clearTimeout(timer)
  }, [typed, value])
  return (
    <label className={`filter-${field}${value === '' ? '' : ' is-set'}`} title={HINTS[field]}>
      <span>{LABELS[field]}</span>
      <input
        ref={inputRef}
        name={field}
        value={typed}
        placeholder={PLACEHOLDERS[field]}
        inputMode={field === 'pid' ? 'numeric' : 'text'}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        onChange={(event) => setTyped(event.target.value)}
        onKeyDown={(event) => event.key === 'Enter' && onChange(typed)}
      />
      {field === 'host' && <kbd>/</kbd>}
    </label>
  )
}
