import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

/** Builds the page into dist/controlplane/ui, from where the control plane serves it at "/". */
export default defineConfig({
  root: import.meta.dirname,
  base: '/',
  plugins: [react()],
  build: {
    outDir: '../../dist/controlplane/ui',
    emptyOutDir: true,
    target: 'es2024',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
})
