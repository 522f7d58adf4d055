/** nginx as an HTTPS server on 127.0.0.1: a master and one worker, serving the files of makeBodies, proxying to another. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findFreePorts } from '../deploy/local/ports.js'
import { startProgram } from '../deploy/local/process.js'
import type { TlsServer } from '../deploy/local/traffic.js'
import { makeCertificate } from '../deploy/local/traffic.js'

const startTimeoutMs = 10_000

/** Where requests below /proxied/ go on to: over TLS, the certificate checked, connections kept. */
const upstream = ({ listen }: TlsServer): string => `
  upstream behind { server ${listen}; keepalive 4; }
`

const proxying = ({ caPath }: TlsServer): string => `
    location ^~ /proxied/ {
      client_max_body_size 8m;
      proxy_pass https://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_ssl_verify on;
      proxy_ssl_name localhost;
      proxy_ssl_trusted_certificate ${caPath};
    }
`

const configuration = (directory: string, port: number, behind: TlsServer): string => `
daemon off;
user root;
worker_processes 1;
error_log stderr;
pid ${directory}/nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  keepalive_requests 100000;
  client_body_temp_path ${directory}/nginx-body;
  proxy_temp_path ${directory}/nginx-proxy;
  fastcgi_temp_path ${directory}/nginx-fastcgi;
  uwsgi_temp_path ${directory}/nginx-uwsgi;
  scgi_temp_path ${directory}/nginx-scgi;
  default_type application/octet-stream;
  ${upstream(behind)}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${directory}/certificate.pem;
    ssl_certificate_key ${directory}/key.pem;
    location ~ /([0-9]+)$ { alias ${directory}/response-$1; }
    ${proxying(behind)}
  }
}
`

const accepts = async (port: number): Promise<boolean> => {
  const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)
  await answer?.body?.cancel()
  return answer !== undefined
}

/** Starts nginx with a certificate of its own in directory (existing); it asks the server behind for what is below /proxied/. */
export const startNginx = async (directory: string, behind: TlsServer): Promise<TlsServer> => {
  await makeCertificate(directory)
  const [port = 0] = await findFreePorts(1)
  const configPath = join(directory, 'nginx.conf')
  await writeFile(configPath, configuration(directory, port, behind))
  const program = await startProgram({
    name: 'nginx',
    command: 'nginx',
    args: ['-p', directory, '-c', configPath],
    logPath: join(directory, 'nginx.log'),
  })
  const deadlineMs = performance.now() + startTimeoutMs
  while (!(await accepts(port))) {
    if (!program.isRunning() || performance.now() > deadlineMs) {
      await program.stop(0)
      throw new Error(`nginx does not serve; ${await program.describeLog()}`)
    }
    await sleep(50)
  }
  const listen = `127.0.0.1:${port}`
  return { program, listen, url: `https://${listen}`, caPath: join(directory, 'certificate.pem'), directory }
}
