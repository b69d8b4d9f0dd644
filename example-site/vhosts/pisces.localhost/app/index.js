import express from 'express'
import { WebSocketServer } from 'ws'

const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 })

sockets.on('connection', socket => {
  socket.on('error', () => socket.terminate())
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
})

export const handler = express()

handler.get('/', (req, res) => {
  res.send(page(req.vhost.hostname))
})

export function upgrade(req, socket, head) {
  sockets.handleUpgrade(req, socket, head, client => sockets.emit('connection', client, req))
}

const page = hostname => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${hostname}</title>
<style>
  :root { color-scheme: light dark; accent-color: #27c }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #27c }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>&#9811;&#xFE0E; ${hostname}</h1>
<p>A WebSocket that echoes what it gets.</p>
<form><input name="text" value="blub" aria-label="Text" autofocus> <button>Send</button></form>
<ul></ul>
<p><small>Edit <code>example-site/vhosts/pisces.localhost/app/index.js</code> and refresh.</small></p>
<script>
  const list = document.querySelector('ul')
  const say = text => list.appendChild(document.createElement('li')).append(text)
  const socket = new WebSocket(location.origin.replace('http', 'ws'))
  socket.onopen = () => say('open')
  socket.onmessage = ({ data }) => say('echo: ' + data)
  socket.onclose = () => say('closed')
  document.forms[0].onsubmit = event => {
    event.preventDefault()
    socket.send(event.target.text.value)
  }
</script>
`
