import { readSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { isMainThread, parentPort } from 'node:worker_threads'
import type { Order, Report } from './messages.ts'

/** The file descriptor of a process that leads to the router. */
const DESCRIPTOR = 3

/** The app's end of the channel to the router. It keeps nothing running. */
export interface RouterChannel {
  report(report: Report): void
}

/** `obey` gets the router's orders; `lost` is called when the router is gone. */
export function openRouterChannel(obey: (order: Order) => void, lost: () => void): RouterChannel {
  return isMainThread ? openPipe(obey, lost) : openPort(obey)
}

function openPipe(obey: (order: Order) => void, lost: () => void): RouterChannel {
  awaitBegin(lost)
  const pipe = new Socket({ fd: DESCRIPTOR })
  let rest = ''
  pipe.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) obey(line as Order)
  })
  pipe.on('error', () => {}).on('close', lost)
  pipe.unref()
  return {
    // Written synchronously, for reports right before the process ends.
    report: report => {
      try {
        writeSync(DESCRIPTOR, `${JSON.stringify(report)}\n`)
      } catch (error) {
        // The channel is full of unread reports, all of them pongs. One of those will do as well as this one.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') lost()
      }
    },
  }
}

/** Waits for `'begin'`, before which no other order comes. */
function awaitBegin(lost: () => void): void {
  const begin: Order = 'begin'
  const read = readSync(DESCRIPTOR, Buffer.alloc(`${begin}\n`.length))
  if (read === 0) lost()
}

function openPort(obey: (order: Order) => void): RouterChannel {
  const port = parentPort
  port?.on('message', message => {
    if (isOrder(message)) obey(message.order)
  })
  port?.unref()
  return { report: report => port?.postMessage({ expressVan: report }) }
}

function isOrder(message: unknown): message is { order: Order } {
  return typeof message === 'object' && message !== null && 'order' in message
}
