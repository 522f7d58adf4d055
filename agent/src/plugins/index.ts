/** What is done with exchanges. */
export { HttpCapture, type HttpCaptureOptions, type HttpCaptureStats } from './http-capture.js'
