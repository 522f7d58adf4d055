import './node-buffer.js'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.js'

const page = document.getElementById('page')
if (page === null) throw new Error('the document has no element #page')
createRoot(page).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
