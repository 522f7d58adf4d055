import type { HttpHeads, MessageHead } from '../../../ui-model/http-headers.js'
import type { Loaded } from './use-loaded.js'

export function HeadersTab({ heads }: { heads: Loaded<HttpHeads | undefined> }) {
  switch (heads.kind) {
    case 'loading':
      return <p className="note">Fetching the headers from the bucket…</p>
    case 'failed':
      return (
        <p className="warning" role="alert">
          {heads.reason}
        </p>
      )
    case 'ready':
      if (heads.value === undefined) {
        return (
          <p className="note">
            No headers were stored. The agent’s capture level is “metadata”, or its store was full.
          </p>
        )
      }
      return (
        <>
          <Head title="Request" head={heads.value.request} />
          <Head title="Response" head={heads.value.response} />
        </>
      )
  }
}

function Head({ title, head }: { title: string; head: MessageHead | undefined }) {
  return (
    <section className="group">
      <h3>{title}</h3>
      {head === undefined ? (
        <p className="note">No response was seen.</p>
      ) : (
        <>
          <p className="start-line">{head.line}</p>
          <table className="headers">
            <thead className="sr-only">
              <tr>
                <th>Name</th>
                <th>Value</th>
              </tr>
            </thead>
            <tbody>
              {head.headers.map(([name, value], index) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: names repeat and the order never changes
                <tr key={index}>
                  <th scope="row">{name}</th>
                  <td>{value}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </section>
  )
}
