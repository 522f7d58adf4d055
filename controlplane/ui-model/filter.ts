/** What the table shows, as it stands in the page's address and in the query of the REST calls. */

/** The fields that the REST list and tail take, in the order of the page's inputs. */
export const FILTER_FIELDS = ['method', 'status', 'host', 'path', 'comm', 'exe', 'pid'] as const

export type FilterField = (typeof FILTER_FIELDS)[number]

/** Text of each field; a field that is absent does not filter. */
export type RequestFilter = { readonly [field in FilterField]?: string }

/** Reads the filter out of an address's query; unknown parameters and blank values are passed over. */
export function filterFromQuery(query: string): RequestFilter {
  const params = new URLSearchParams(query)
  const entries = FILTER_FIELDS.map((field) => [field, (params.get(field) ?? '').trim()] as const)
  return Object.fromEntries(entries.filter(([, value]) => value !== ''))
}

/** The filter as a query with "?" in front, or "" if it filters nothing. */
export function filterToQuery(filter: RequestFilter): string {
  const query = filterParams(filter).toString()
  return query === '' ? '' : `?${query}`
}

/** The filter as parameters for the REST calls. */
export function filterParams(filter: RequestFilter): URLSearchParams {
  const params = new URLSearchParams()
  for (const field of FILTER_FIELDS) {
    const value = filter[field]?.trim()
    if (value) params.set(field, value)
  }
  return params
}

/** The filter with one field set, or taken away by blank text. */
export function withField(filter: RequestFilter, field: FilterField, value: string): RequestFilter {
  return filterFromQuery(filterToQuery({ ...filter, [field]: value }))
}

export function isFiltering(filter: RequestFilter): boolean {
  return filterToQuery(filter) !== ''
}

/** Where the page is: the table alone, or beside one request. */
export interface Route {
  /** UUID text of the open request. */
  readonly requestId: string | undefined
  readonly filter: RequestFilter
}

const REQUEST_PATH = /^\/requests\/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\/?$/

/** Reads the address; any path that names no request is the table. */
export function routeFromUrl(pathname: string, query: string): Route {
  const requestId = REQUEST_PATH.exec(pathname)?.[1]?.toLowerCase()
  return { requestId, filter: filterFromQuery(query) }
}

/** Path and query of a route. */
export function routeToUrl(route: Route): string {
  const path = route.requestId === undefined ? '/' : `/requests/${route.requestId}`
  return path + filterToQuery(route.filter)
}
